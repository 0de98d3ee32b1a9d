"""Local resolution of a map: the FSC of its half-maps in soft windows.

About a point x, both half-maps are multiplied by a window w that falls from 1 at x to 0 at its edge, a radial Hann
window of diameter D, after the mean under it is taken off, and their transforms are compared shell by shell:

    A = F[w(p - x) (h1(p) - ⟨h1⟩_w)],        B likewise of h2,        w(r) = ½ (1 + cos(2π r / D)) for r < D / 2
    FSC(x, s) = Re Σ_s A conj(B) / √(Σ_s |A|² Σ_s |B|²)

The resolution at x is where that first falls below ½. Points lie on a coarse grid, a quarter of D apart, and voxels
between them take it by linear interpolation. D is 7 times the resolution of the whole map: narrower windows spread each
shell over its neighbours, and what is read off is too good. Shells of a window are 1 / D apart, and
the first holds the mean: where the half-maps have nothing in common, as in the solvent, about D / 1.5 is told, and
nothing is coarser than D.

References
----------
Cardone, Heymann & Steven, J. Struct. Biol. 184 (2013) 226 (blocres), whose window is a cube; width and threshold are
among those recommended for it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.ndimage import map_coordinates

from libhetero.metrics.fsc import resolution
from libhetero.physics.correlation import fourier_shell_correlation

RESOLUTIONS = 7.0  # of the whole map, that a window is wide
NARROWEST = 12  # voxels
STEPS = 4  # points of the grid along a window
THRESHOLD = 0.5
LOWEST = 2  # the first shell that tells: those before hold the mean, which is taken off
BYTES = 2**28  # of windows and their transforms at once
BYTES_OF_VOXEL = 2 * 16  # of a window: of both half-maps, what is cut, its transform and the products of those


def window_width(box_size: int, pixel_size: float, finest: float) -> int:
    """Return the diameter of a window in voxels, an even number that fits the box.

    Parameters
    ----------
    box_size : voxels, even.
    pixel_size : Å.
    finest : Å, the resolution of the whole map.
    """
    wanted = 2 * round(RESOLUTIONS * finest / pixel_size / 2)
    return int(np.clip(wanted, min(NARROWEST, box_size), box_size))


def local_resolution(
    half_maps: Float[np.ndarray, "2 n n n"], pixel_size: float, finest: float
) -> Float[np.ndarray, "n n n"]:
    """Return the local resolution of every voxel, Å.

    Parameters
    ----------
    half_maps : not filtered.
    pixel_size : Å.
    finest : Å, the resolution of the whole map, for the width of the windows.
    """
    n = half_maps.shape[-1]
    width = window_width(n, pixel_size, finest)
    step = max(width // STEPS, 1)
    scale = np.float32(1 / (np.abs(half_maps).max() or 1.0))  # float32 squares the grey scale twice
    margin = ((0, 0), *[(width // 2, width // 2)] * 3)
    padded = np.pad(np.asarray(half_maps, np.float32) * scale, margin)
    along = np.arange(0, n, step)
    first = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)
    curves = np.asarray(_in_windows(jnp.asarray(padded), jnp.asarray(first, jnp.int32), hann_window(width)))
    found = np.array([resolution(one, THRESHOLD, pixel_size) for one in curves])
    coarse = np.clip(found, 2 * pixel_size, width * pixel_size).reshape((len(along),) * 3)
    return interpolated(coarse, n, step)


def interpolated(
    coarse: Float[np.ndarray, "points points points"], box_size: int, step: int
) -> Float[np.ndarray, "n n n"]:
    """Return the values at all voxels, a section of the map at a time, by linear interpolation.

    Parameters
    ----------
    coarse : at every `step`-th voxel, from the first; beyond the last of them its value holds.
    box_size : voxels.
    step : voxels.
    """
    along = np.arange(box_size) / step
    y, x = np.meshgrid(along, along, indexing="ij")
    found = np.empty((box_size,) * 3, np.float32)
    for section, z in zip(found, along, strict=True):
        map_coordinates(coarse, (np.full_like(y, z), y, x), output=section, order=1, mode="nearest")
    return found


def hann_window(width: int) -> Float[np.ndarray, "width width width"]:
    """Return the window, its highest at voxel width // 2."""
    axis = (np.arange(width) - width // 2) ** 2
    radius = np.sqrt(axis[:, None, None] + axis[:, None] + axis)
    return np.where(radius < width / 2, 0.5 * (1 + np.cos(2 * np.pi * radius / width)), 0).astype(np.float32)


@jax.jit
def _in_windows(
    maps: Float[Array, "2 m m m"], first: Int[Array, "points 3"], window: Float[Array, "w w w"]
) -> Float[Array, "points shells"]:
    """Return the FSC of two maps in windows that begin at the given voxels."""
    width = window.shape[0]

    def one(begin: Array) -> Array:
        cut = jax.lax.dynamic_slice(maps, (0, *begin), (2, width, width, width))
        mean = jnp.sum(window * cut, axis=(1, 2, 3), keepdims=True) / jnp.sum(window)
        return fourier_shell_correlation(*(window * (cut - mean))).at[:LOWEST].set(1.0)

    together = min(len(first), max(1, BYTES // (BYTES_OF_VOXEL * width**3)))
    found: Array = jax.lax.map(one, first, batch_size=together)
    return found
