"""Isosurfaces of maps as shaded pictures, seen along an axis of the map.

A ray runs along the axis through every pixel of the picture; where the density first reaches the level, linear between
voxels, is the surface, and its normal n is the gradient of the density there. The light comes from the upper left in
front, l; with the depth d of the surface in the picture (0 nearest, 1 farthest), a pixel is as bright as

    b = (0.25 + 0.75 max(-n·l, 0)) (1 - 0.35 d)

Maps are refined before by zeros added to their Fourier transform, so that a surface of a map of 64 voxels is smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

FINEST = 192  # voxels of a refined map along each side, at most
FINER = 4  # times, at most
AMBIENT, DEPTH_CUE = 0.25, 0.35
LIGHT = np.array([0.75, 0.45, -0.5])  # from the viewer, above, to the left: (depth towards the viewer, up, right)
BINS = 256  # of the histogram
MARGIN = 2  # voxels about what is shown
VIEWS = "zyx"


@dataclass(frozen=True, eq=False)
class Surface:
    """What a viewer sees of an isosurface; NaN where a ray meets none.

    Parameters
    ----------
    brightness : 0 to 1.
    depth : of the surface, voxels of the refined map.
    """

    brightness: Float[np.ndarray, "rows columns"]
    depth: Float[np.ndarray, "rows columns"]


def common_level(volumes: Sequence[Float[np.ndarray, "_ _ _"]]) -> float:
    """Return the level that parts the voxels of all volumes best into two kinds, solvent and molecule.

    Otsu's threshold: of all levels, the one of the highest variance between the means of the voxels below and above.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62.
    """
    low, high = min(float(one.min()) for one in volumes), max(float(one.max()) for one in volumes)
    if not high > low:
        return high
    counts = sum(np.histogram(one, BINS, (low, high))[0] for one in volumes)
    edges = np.linspace(low, high, BINS + 1)
    middles = 0.5 * (edges[1:] + edges[:-1])
    below, total = np.cumsum(counts)[:-1], np.sum(counts)
    first = np.cumsum(counts * middles)[:-1]
    above = total - below
    apart = first / np.maximum(below, 1) - (np.sum(counts * middles) - first) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * apart**2)])


def cropped(
    volumes: Sequence[Float[np.ndarray, "n n n"]], level: float
) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """Return first voxel and side lengths of the cube about the centre that holds all surfaces of a level.

    Parameters
    ----------
    volumes : of one size.
    level : of the surfaces.
    """
    n = len(volumes[0])
    reach = max((_reach(one, level) for one in volumes), default=0) + MARGIN
    first = max(n // 2 - reach, 0)
    side = min(n // 2 + reach + 1, n) - first
    return np.full(3, first), np.full(3, side)


def _reach(volume: np.ndarray, level: float) -> int:
    """Return how far from the centre, along an axis, voxels above the level lie."""
    inside = volume >= level
    along = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    return max((int(np.abs(one - len(volume) // 2).max()) for one in along if len(one)), default=0)


def refined(volume: Float[np.ndarray, "a b c"]) -> Float[np.ndarray, "d e f"]:
    """Return a map on a grid that is finer by a whole number, by zeros added to its Fourier transform.

    The map's own values stay where they are, at every so-many voxels.
    """
    side = max(volume.shape)
    times = int(np.clip(FINEST // side, 1, FINER))
    if times == 1:
        return np.asarray(volume, np.float32)
    padded = volume
    for axis, length in enumerate(volume.shape):
        whole = np.fft.fftshift(np.fft.fft(padded, axis=axis), axes=axis)
        if length % 2 == 0:  # the highest frequency stands for both signs
            ends = np.take(whole, [0], axis=axis) / 2
            rest = np.take(whole, np.arange(1, length), axis=axis)
            whole = np.concatenate([ends, rest, ends], axis=axis)
        more = times * length - whole.shape[axis]
        middle = times * length // 2 - length // 2
        widths = [(middle, more - middle) if one == axis else (0, 0) for one in range(3)]
        whole = np.pad(whole, widths)
        padded = np.fft.ifft(np.fft.ifftshift(whole, axes=axis), axis=axis).real * times
    return padded.astype(np.float32)


def seen_along(volume: Float[np.ndarray, "a b c"], level: float, view: str) -> Surface:
    """Return the isosurface of a map (z, y, x) as a viewer sees it who looks along an axis.

    Parameters
    ----------
    volume : refined, or as fine as the picture is to be.
    level : of the surface.
    view : "z" (from +z; x to the right, y up), "y" (from -y; x to the right, z up) or "x" (from +x; y to the right,
        z up).
    """
    towards = _away_from_viewer(volume, view)
    inside = towards >= level
    first = inside.argmax(axis=0)
    hit = inside.any(axis=0)
    rows, columns = (np.asarray(one) for one in np.indices(hit.shape))
    here = towards[first, rows, columns]
    before = towards[np.maximum(first - 1, 0), rows, columns]
    step = np.where((first > 0) & (here > before), (here - level) / np.maximum(here - before, 1e-30), 0.0)
    depth = first - np.clip(step, 0, 1)
    slope = np.stack([_slope(towards, first, rows, columns, one) for one in range(3)])
    length = np.sqrt((slope**2).sum(axis=0))
    normal = slope / np.maximum(length, 1e-30)  # into the molecule, where the density rises
    light = LIGHT / np.linalg.norm(LIGHT)
    shone = normal[0] * light[0] - normal[1] * light[1] - normal[2] * light[2]
    shade = AMBIENT + (1 - AMBIENT) * np.clip(shone, 0, 1)
    bright = shade * (1 - DEPTH_CUE * depth / len(towards))
    return Surface(np.where(hit, bright, np.nan), np.where(hit, depth, np.nan))


def _away_from_viewer(volume: Float[np.ndarray, "a b c"], view: str) -> Float[np.ndarray, "depth rows columns"]:
    """Return a map (z, y, x) with depth first, rows up and columns to the right: a right-handed picture."""
    if view == "y":
        return np.moveaxis(volume, 1, 0)
    return np.moveaxis(volume, {"z": 0, "x": 2}[view], 0)[::-1]


def _slope(
    values: np.ndarray, depth: np.ndarray, rows: np.ndarray, columns: np.ndarray, axis: int
) -> Float[np.ndarray, "rows columns"]:
    """Return the derivative along an axis at the voxels of a surface."""
    place = [depth, rows, columns]
    ends = []
    for sign in (1, -1):
        moved = list(place)
        moved[axis] = np.clip(place[axis] + sign, 0, values.shape[axis] - 1)
        ends.append(values[tuple(moved)])
    slope: np.ndarray = ends[0] - ends[1]
    return slope


def at_surface(values: Float[np.ndarray, "a b c"], surface: Surface, view: str) -> Float[np.ndarray, "rows columns"]:
    """Return another map at the points of a surface, linear between voxels along the view; NaN where there is none.

    Parameters
    ----------
    values : on the grid that the surface was found on.
    surface, view : from `seen_along`.
    """
    towards = _away_from_viewer(values, view)
    hit = np.isfinite(surface.depth)
    depth = np.where(hit, surface.depth, 0)
    low = np.clip(np.floor(depth).astype(int), 0, len(towards) - 1)
    high = np.minimum(low + 1, len(towards) - 1)
    rows, columns = np.indices(hit.shape)
    part = depth - low
    found = (1 - part) * towards[low, rows, columns] + part * towards[high, rows, columns]
    return np.where(hit, found, np.nan)
