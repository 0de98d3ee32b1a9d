"""The Fourier grid on which the volumes of a mixture live: low rings, half of space, confined to a ball in real space.

A slice takes the value of the nearest point of the grid, which is `oversampling` times as fine as the box asks for:
at a distance r from the centre of a box of side L, its phase is off by up to π r / (L · oversampling) along each axis.
Values at -k are the conjugates of those at k, so that half of the points, kx ≥ 0, are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Bool, Complex, Float, Int

from libhetero.models.hype.latent.central import CentralSlices
from libhetero.physics.arrays import AnyArray
from libhetero.physics.masks import cosine_edge
from libhetero.physics.rotations import HIGHEST
from libhetero.physics.slices import slice_frequencies

EDGE = 0.05  # of the box: over which the ball's mask falls
TOGETHER = 16  # volumes in real space at once
WIDTHS = 8  # numbers of pixels that particles of several images may have
SERIES_TOGETHER = 128  # particles of several images whose pixels are merged at once
TINY = 1e-20
SIZES = 4, 16, 64  # rows that programs are compiled for, and multiples of the last


def few_sizes(count: int) -> int:
    """Return a number of rows that is enough, one of few, so that few programs are compiled."""
    return next((size for size in SIZES if count <= size), -(-count // SIZES[-1]) * SIZES[-1])


@dataclass(frozen=True)
class FourierGrid:
    """Points of the grid.

    Parameters
    ----------
    ring : the highest, cycles per box.
    oversampling : points per cycle.
    ball : radius of the molecules, as a part of the box.
    """

    ring: float
    oversampling: float
    ball: float

    @property
    def reach(self) -> int:
        """The highest index along an axis."""
        return math.ceil(self.ring * self.oversampling) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Points along kx ≥ 0, ky and kz."""
        return self.reach + 1, 2 * self.reach + 1, 2 * self.reach + 1

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    @cached_property
    def radius(self) -> Float[np.ndarray, "points"]:
        """Of each point, cycles per box."""
        x, y, z = np.indices(self.shape)
        squared = x**2 + (y - self.reach) ** 2 + (z - self.reach) ** 2
        return (np.sqrt(squared) / self.oversampling).reshape(-1)

    @property
    def edge(self) -> int:
        """Voxels along each side in real space, an even number of small factors."""
        return 2 * scipy.fft.next_fast_len(self.reach + 1, real=True)

    @cached_property
    def mask(self) -> Float[np.ndarray, "edge edge edge"]:
        """1 in the ball, falling to 0 outside of it; centred on voxel 0."""
        along = np.fft.fftfreq(self.edge) * self.oversampling
        distance = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + along**2)
        with jax.ensure_compile_time_eval():
            return np.asarray(cosine_edge(distance, self.ball, EDGE), np.float32)

    @cached_property
    def _smoothing(self) -> Float[np.ndarray, "edge edge edge"]:
        """What reading between points multiplies a volume with in real space: sinc² along each axis."""
        along = np.sinc(np.fft.fftfreq(self.edge)) ** 2
        smooth: Float[np.ndarray, "edge edge edge"] = along[:, None, None] * along[:, None] * along
        return smooth

    def confined(self, values: Complex[AnyArray, "volumes points"]) -> Complex[Array, "volumes points"]:
        """Return volumes without what lies outside of the ball."""
        return masked(jnp.asarray(values), jnp.asarray(self.mask), self.reach)

    def unsmoothed(self, values: Complex[AnyArray, "volumes points"]) -> Complex[Array, "volumes points"]:
        """Return confined volumes divided, in real space, by what `interpolated` multiplies them with there: sinc²."""
        return masked(jnp.asarray(values), jnp.asarray(self.mask / self._smoothing, jnp.float32), self.reach)

    def resampled(
        self, values: Complex[AnyArray, "volumes points"], other: FourierGrid
    ) -> Complex[Array, "volumes other_points"]:
        """Return confined volumes at the points of another grid of the same ball, by sums over real space."""
        along = np.fft.fftfreq(self.edge) * self.oversampling
        inside = np.abs(along) < min(self.ball + EDGE, 0.5)
        k = np.arange(-other.reach, other.reach + 1) / other.oversampling
        waves = np.exp(-2j * np.pi * np.outer(k, along[inside])).astype(np.complex64)
        return _resampled(jnp.asarray(values), jnp.asarray(waves), np.flatnonzero(inside), self.reach, self.edge)

    def with_moments(
        self, values: Complex[AnyArray, "points"], support: Float[AnyArray, "edge edge edge"]
    ) -> Complex[Array, "4 points"]:
        """Return V times a support in real space, 2π x V, 2π y V and 2π z V of it, `unsmoothed`; r in boxes.

        The last three are i times the gradient of the first's transform, in cycles per box.

        Parameters
        ----------
        values : a confined volume.
        support : centred on voxel 0, its axes y, z and x.
        """
        along = np.fft.fftfreq(self.edge) * self.oversampling
        plain = support * self.mask / self._smoothing
        axes = 1 / (2 * np.pi), along, along[:, None, None], along[:, None]
        weights = (jnp.asarray(2 * np.pi * plain * axis, jnp.float32) for axis in axes)
        volume = jnp.asarray(values)[None]
        return jnp.concatenate([masked(volume, weight, self.reach) for weight in weights])

    def of_volume(self, volume: Float[np.ndarray, "z y x"], pixel: float) -> Complex[np.ndarray, "points"]:
        """Return what a volume of any grid has in the ball at the points of this one, by sums over its voxels.

        What it has at the ball's edge on average, or at its own where it is smaller, is taken for its background.

        Parameters
        ----------
        volume : its origin at the middle voxel, edge // 2.
        pixel : width of a voxel, a part of the box.
        """
        k = np.arange(-self.reach, self.reach + 1) / self.oversampling
        z, y, x = (pixel * (np.arange(edge) - edge // 2) for edge in volume.shape)
        wave_z, wave_y, wave_x = (np.exp(-2j * np.pi * np.outer(k, one)).astype(np.complex64) for one in (z, y, x))
        radius = min(self.ball, *(pixel * (edge // 2) - EDGE for edge in volume.shape))
        flat = np.hypot(y[:, None], x)
        weights = (np.asarray(cosine_edge(np.hypot(flat, one), radius, EDGE), np.float32) for one in z)
        values, mask = np.zeros(self.shape, np.complex64), np.zeros(self.shape, np.complex64)
        at_edge = np.zeros(2)
        for weight, plane, wave in zip(weights, volume, wave_z.T, strict=True):
            edge = (weight > 0) & (weight < 1)
            at_edge += np.sum(plane, where=edge, dtype=np.float64), np.count_nonzero(edge)
            for total, shown in ((values, weight * plane), (mask, weight)):
                total += (wave_x[self.reach :] @ shown.T.astype(np.complex64) @ wave_y.T)[:, :, None] * wave
        return (values - at_edge[0] / max(at_edge[1], 1) * mask).reshape(-1)

    def in_space(self, values: Complex[AnyArray, "points"]) -> Float[Array, "edge edge edge"]:
        """Return a volume in real space, centred on voxel 0, its axes y, z and x."""
        return _seen_in_space(jnp.asarray(values), self.reach, self.edge)

    def interpolated(
        self,
        table: Float[AnyArray, "points 2 volumes"],
        frequencies: Float[AnyArray, "chosen 3"],
        first: Any = 0,
        columns: Int[AnyArray, "read"] | None = None,
    ) -> Float[Array, "chosen 2 read"]:
        """Return volumes, real and imaginary parts, between points of the grid: trilinear, 0 beyond the highest ring.

        Parameters
        ----------
        table : the volumes at the points; of several grids, one after the other.
        frequencies : (x, y, z), cycles per box.
        first : row of the table at which the grid begins.
        columns : which of the volumes are read, in this order, and no others; None for all.
        """
        inside = jnp.linalg.norm(frequencies, axis=-1) <= self.ring
        place = jnp.where(inside[:, None], frequencies, 0.0) * self.oversampling
        turned = place[:, 0] < 0
        place = jnp.where(turned[:, None], -place, place)
        low = jnp.floor(place).astype(jnp.int32)
        rest, values = place - low, jnp.asarray(table)
        total = jnp.zeros((len(place), 2, values.shape[2] if columns is None else len(columns)))
        for corner in np.ndindex(2, 2, 2):
            at = low + np.array(corner, np.int32)
            weight = jnp.prod(jnp.where(np.array(corner, bool), rest, 1 - rest), axis=1)
            row = first + _number(at, self.reach)
            read = values[row] if columns is None else jnp.moveaxis(values[row[:, None], :, columns], 1, 2)
            total = total + weight[:, None, None] * read.astype(jnp.float32)
        sign = jnp.where(inside, jnp.where(turned, -1.0, 1.0), 0.0)
        return total * jnp.stack([jnp.abs(sign), sign], axis=1)[:, :, None]


@partial(jax.jit, static_argnames="reach")
def masked(values: Array, mask: Array, reach: int) -> Array:
    """Return volumes multiplied by a mask in real space.

    Parameters
    ----------
    values : (volumes, points) of a grid.
    mask : (edge, edge, edge), centred on voxel 0; an argument, which a compiled program need not hold.
    reach : of the grid.
    """
    kept: Array = jax.lax.map(lambda one: _confined(one, mask, reach), values, batch_size=TOGETHER)
    return kept


@partial(jax.jit, static_argnames=("reach", "edge"))
def _resampled(values: Array, waves: Array, inside: Array, reach: int, edge: int) -> Array:
    half = waves[len(waves) // 2 :]  # kx ≥ 0

    def one(value: Array) -> Array:
        y, z, x = jnp.ix_(inside, inside, inside)  # the axes of `_in_space`
        there = _in_space(value, reach, edge)[y, z, x]
        product = partial(jnp.einsum, precision=HIGHEST)
        planes = product("yzx,kx->kyz", there, half)
        lines = product("kyz,jy->kjz", planes, waves)
        return product("kjz,iz->kji", lines, waves).reshape(-1)

    found: Array = jax.lax.map(one, values)
    return found


_seen_in_space = jax.jit(lambda values, reach, edge: _in_space(values, reach, edge), static_argnums=(1, 2))


def _in_space(values: Array, reach: int, edge: int) -> Array:
    """Return one volume in real space, its axes y, z, x, centred on voxel 0."""
    around = jnp.arange(-reach, reach + 1)
    lines = jnp.moveaxis(values.reshape(reach + 1, 2 * reach + 1, 2 * reach + 1), 0, 2)
    whole = jnp.zeros((edge, edge, edge // 2 + 1), values.dtype)
    whole = whole.at[around[:, None], around[None], : reach + 1].set(lines)
    return jnp.fft.irfftn(whole, (edge, edge, edge))


def _confined(values: Array, mask: Array, reach: int) -> Array:
    around = jnp.arange(-reach, reach + 1)
    inside = jnp.fft.rfftn(_in_space(values, reach, len(mask)) * mask)
    kept = inside[around[:, None], around[None], : reach + 1]
    return jnp.moveaxis(kept, 2, 0).reshape(-1).astype(values.dtype)


@dataclass(frozen=True, eq=False)
class OnGrid:
    """Slices at the points of a grid.

    Parameters
    ----------
    grid : of the volumes.
    point : the nearest point of each pixel.
    image, transfer : x and τ, conjugated where the pixel's point is that of -k.
    merged : whether no two pixels of a particle that say anything are at one point.
    given_half : half-set of each particle, 0 or 1; None for `half` to draw it.
    """

    grid: FourierGrid
    point: Int[AnyArray, "particles pixels"]
    image: Complex[AnyArray, "particles pixels"]
    transfer: Float[AnyArray, "particles pixels"]
    merged: bool = False
    given_half: Int[np.ndarray, "particles"] | None = None

    def __len__(self) -> int:
        return len(self.point)

    @cached_property
    def half(self) -> Int[np.ndarray, "particles"]:
        """Half-set of each particle; drawn, where it is not given, for the order of a list may have one."""
        if self.given_half is not None:
            return self.given_half
        return np.random.default_rng(len(self)).permutation(len(self)) % 2

    def take(self, rows: Int[np.ndarray, "chosen"]) -> OnGrid:
        """Return some of the particles."""
        half = None if self.given_half is None else self.given_half[rows]
        return replace(
            self, point=self.point[rows], image=self.image[rows], transfer=self.transfer[rows], given_half=half
        )

    def scaled(self, contrast: Float[np.ndarray, "particles"]) -> OnGrid:
        """Return the slices with the contrast of each particle in its transfer."""
        return replace(self, transfer=self.transfer * jnp.asarray(contrast, jnp.float32)[:, None])


def on_grid(slices: CentralSlices, grid: FourierGrid, merged: bool = True) -> OnGrid:
    """Return slices at the points of a grid, its ring the highest of them.

    Those of several images of a particle meet at many points: it has one pixel at each (`one_pixel_a_point`), and as
    many in all as one of few widths, so that few programs are compiled.

    Parameters
    ----------
    slices : of particles.
    grid : whose points.
    merged : False for all pixels of such a particle one after the other, where they are only to be added up.
    """
    inside = slices.within(grid.ring)
    if inside.views == 1 or not merged:
        return _at_points(inside, grid)
    parts_of_all = []
    for start in range(0, max(len(inside), 1), SERIES_TOGETHER):
        part = inside.take(np.arange(start, min(start + SERIES_TOGETHER, len(inside))))
        parts_of_all.append(_packed(one_pixel_a_point(_at_points(part, grid))))
    step = -(-inside.views * len(inside.frequencies) // WIDTHS)
    width = -(-max(point.shape[1] for point, _, _ in parts_of_all) // step) * step
    padded = (
        [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]
        for parts in zip(*parts_of_all, strict=True)
    )
    point, image, transfer = (jnp.asarray(np.concatenate(parts)) for parts in padded)
    return OnGrid(grid, point, image, transfer, merged=True)


def _at_points(slices: CentralSlices, grid: FourierGrid) -> OnGrid:
    """Return slices at the points of a grid, pixel by pixel."""
    point, turned = _nearest(
        jnp.asarray(slices.rotation), jnp.asarray(slices.frequencies), grid.oversampling, grid.reach
    )
    image = jnp.asarray(slices.image)
    values, count = jnp.where(turned, jnp.conj(image), image), len(slices)
    transfer = jnp.asarray(slices.transfer)
    return OnGrid(grid, point.reshape(count, -1), values.reshape(count, -1), transfer.reshape(count, -1))


def _packed(seen: OnGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points, x and τ of slices, those that say something first, as many columns as a particle needs at most."""
    point, image, transfer = (np.asarray(part) for part in (seen.point, seen.image, seen.transfer))
    told = transfer > 0
    order = np.argsort(~told, axis=1, kind="stable")[:, : max(int(told.sum(axis=1).max(initial=0)), 1)]
    point, image, transfer = (np.take_along_axis(part, order, axis=1) for part in (point, image, transfer))
    return point, image, transfer


def one_pixel_a_point(seen: OnGrid) -> OnGrid:
    """Return slices in which pixels of an image at one point, or at k and -k of kx = 0, are one.

    Pixels x_m = τ_m V + noise of one point say what x = Σ τ_m x_m / τ says through τ = √Σ τ_m², which stands in place
    of the first; the others say nothing.
    """
    if seen.merged:
        return seen
    grid = seen.grid
    point, turned = _of_one_half(np.asarray(seen.point), grid.reach)
    image, transfer = np.asarray(seen.image), np.asarray(seen.transfer)
    image = np.where(turned, image.conj(), image)
    order = np.argsort(point, axis=1, kind="stable")
    point, image, transfer = (np.take_along_axis(part, order, axis=1) for part in (point, image, transfer))
    new = np.ones(point.shape, bool)
    new[:, 1:] = point[:, 1:] != point[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    summed = (transfer * image).ravel()
    together = np.bincount(group, summed.real) + 1j * np.bincount(group, summed.imag)
    passed = np.sqrt(np.bincount(group, transfer.ravel() ** 2))
    merged_image, merged_transfer = np.zeros(point.shape, np.complex64), np.zeros(point.shape, np.float32)
    merged_image[new] = together / np.maximum(passed, TINY)
    merged_transfer[new] = passed
    parts = jnp.asarray(point), jnp.asarray(merged_image), jnp.asarray(merged_transfer)
    return OnGrid(grid, *parts, merged=True, given_half=seen.given_half)


def _of_one_half(
    point: Int[np.ndarray, "particles pixels"], reach: int
) -> tuple[Int[np.ndarray, "particles pixels"], Bool[np.ndarray, "particles pixels"]]:
    """Return one of the points k and -k where kx = 0, and whether it is the other's."""
    width = 2 * reach + 1
    centre, plane = reach * width + reach, width * width
    turned = (point < plane) & (point < centre)
    return np.where(turned, 2 * centre - point, point), turned


@jax.jit
def _nearest(rotation: Array, frequencies: Array, oversampling: Array, reach: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda one: nearest_points(one, frequencies, oversampling, reach))(rotation)


def nearest_points(
    rotation: Float[AnyArray, "3 3"], frequencies: Float[AnyArray, "pixels 2"], oversampling: Any, reach: Any
) -> tuple[Int[Array, "pixels"], Bool[Array, "pixels"]]:
    """Return the nearest point of a grid to each pixel of a slice, and whether it is that of -k.

    Parameters
    ----------
    rotation : model to image.
    frequencies : cycles per box.
    oversampling, reach : of the grid.
    """
    points = slice_frequencies(rotation, frequencies) * oversampling
    turned = points[..., 0] < 0
    near = jnp.rint(jnp.where(turned[..., None], -points, points)).astype(jnp.int32)
    return _number(near, reach), turned


def _number(point: Int[Array, "chosen 3"], reach: Any) -> Int[Array, "chosen"]:
    """Return the places in a flattened grid of points, x from 0 and y, z from -reach."""
    width = 2 * reach + 1
    return (point[:, 0] * width + point[:, 1] + reach) * width + point[:, 2] + reach
