"""Fourier shell correlation and the area under it.

Shell i holds the Fourier voxels with i - 1 ≤ r < i (r in Fourier voxels), i = 1 … D/2 - 1; the
correlation there is Re⟨V1, V2⟩ / √(⟨V1, V1⟩⟨V2, V2⟩), raw and signed; fsc[0] = 1; both volumes are
multiplied by the mask first. The area is the trapezoid over x = i / D in cycles per voxel. The most
it can be is (D/2 - 1) / D (0.492 at D = 128), so the normalised area divides by that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.errors import DataError
from libhetero.physics.correlation import fourier_shell_correlation


@functools.cache
def _compiled() -> Callable[[Array, Array], Array]:
    return jax.jit(fourier_shell_correlation)


def masked_fsc(
    first: Float[np.ndarray, "n n n"],
    second: Float[np.ndarray, "m m m"],
    mask: Float[np.ndarray, "k k k"] | None = None,
) -> Float[np.ndarray, "shells"]:
    """Return the FSC of two maps after multiplying both by `mask`.

    Parameters
    ----------
    first, second : in one box, even; their scales do not matter.
    mask : in the same box, values 0 to 1; None means no mask.

    Returns
    -------
    (n // 2,), at i / n cycles per voxel; 0 in a shell that either map leaves empty.

    Raises
    ------
    DataError : if the two maps, or the mask, have different boxes.
    """
    for name, other in (("second map", second), ("mask", mask)):
        if other is not None and np.shape(other) != np.shape(first):
            raise DataError(
                f"FSC: the {name} has box {np.shape(other)}, the first map {np.shape(first)}; "
                "expected equal boxes. Resample one of them."
            )
    weight = 1.0 if mask is None else jnp.asarray(mask, jnp.float32)
    return np.asarray(_compiled()(*(jnp.asarray(volume, jnp.float32) * weight for volume in (first, second))))


def fsc_area(fsc: Float[np.ndarray, "shells"]) -> float:
    """Return FSC_AUC, the trapezoid of the raw signed FSC over x = i / D in cycles per voxel."""
    fsc = np.asarray(fsc, np.float64)
    return float(np.trapezoid(fsc, dx=1.0 / (2 * len(fsc))))


def largest_area(box_size: int) -> float:
    """Return the FSC_AUC of a perfect map, (D/2 - 1) / D."""
    return (box_size // 2 - 1) / box_size


def normalised_area(fsc: Float[np.ndarray, "shells"]) -> float:
    """Return FSC_AUC divided by the most it can be: 1 for a perfect map."""
    return fsc_area(fsc) / largest_area(2 * len(fsc))


def resolution(fsc: Float[np.ndarray, "shells"], threshold: float, pixel_size: float) -> float:
    """Return the resolution (Å) where the FSC first falls below `threshold`.

    Linear interpolation between shells; the last shell's resolution if it never falls below.

    Parameters
    ----------
    fsc : (n // 2,), fsc[0] = 1.
    threshold : 0.143 for half-maps, 0.5 for a map against the truth.
    pixel_size : Å.
    """
    fsc = np.asarray(fsc, np.float64)
    box_size = 2 * len(fsc)
    below = np.flatnonzero(fsc < threshold)
    if len(below) == 0:
        shell = float(len(fsc) - 1)
    else:
        last = max(int(below[0]), 1)
        step = (fsc[last - 1] - threshold) / (fsc[last - 1] - fsc[last])
        shell = max(last - 1 + step, 1e-9)
    return box_size * pixel_size / shell


def described_resolution(fsc: Float[np.ndarray, "shells"], threshold: float, pixel_size: float) -> str:
    """Return the resolution in words: "8.3 Å", or "the last shell, 4.1 Å" where the FSC never falls below."""
    found = f"{resolution(fsc, threshold, pixel_size):.3g} Å"
    return found if np.any(np.asarray(fsc) < threshold) else f"the last shell, {found}"
