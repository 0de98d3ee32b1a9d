"""Poses found by search, far from the list's or from nothing: images against views of one map, coarse to fine.

With x and τ of an image's slice (`central`), V the map and P_g V its slice at a rotation g,

    log p(x | g, d) = 2 Re Σ conj(x exp(2πi f·d)) τ P_g V - Σ τ² |P_g V|² + what neither depends on

for shifts d on a grid. Over all rotations both sums are products of matrices, of images with views that they share;
about a pose that is known roughly, each image has views of its own. How finely rotations and shifts must lie goes with
the highest ring: a view turned by less than a pixel of it looks alike.

**From nothing** (`found_map`): expectation maximisation of one map from random poses. Each iteration takes some images,
weighs every (g, d) of each by its probability, and makes the map anew of all views, each of the sums over images of
weight × x and weight × τ² at it (two more products of matrices); rotations are turned at random as a whole each time,
so that their grid is no part of the map; rings rise as the iterations go. What images say of the whole, a rotation and
a hand, is free: the map may be the mirror image.

**To a map** (`search_poses`): each image takes the most probable pose of a grid, over all rotations or about its own,
then maps are made of all images, and the search is repeated about each pose at half the spacing and on more rings.
What is left is for `pose_refinement`, which holds each image against the other half-set alone.

References
----------
Maximum likelihood over orientations on low rings: Scheres et al., Nature Methods 4 (2007) 27. Starting maps by
stochastic optimisation over few images a step: Punjani et al., Nature Methods 14 (2017) 290.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.volumes import Sums, signal_power, solved, sums_of
from libhetero.physics.rotation_grids import even_rotations, shifts_within, turns_within
from libhetero.physics.rotations import HIGHEST, turned
from libhetero.physics.slices import slice_frequencies

LOGGER = logging.getLogger(__name__)
FINE = 1.6  # pixels of the highest ring by which views that are next to each other are turned
FINER = 4  # shifts to a wave of the highest ring
OVERSAMPLING = 1.5
FURTHEST, FURTHER = 0.1, 0.035  # of the box: from the origins of the list, at first, and from those found since
RISING = (4,) * 6 + (5,) * 6 + (6,) * 6 + (7,) * 6 + (8,) * 6  # rings of the iterations from nothing
IMAGES = 1000  # of an iteration
SCORES = 2**25  # numbers held at once: of images × shifts × views
VIEWS_AT_ONCE = 256
ALL_ROUND, ABOUT = (8, 12), (12, 14)  # rings of searches over all rotations, and of those about a pose
MOST_ABOUT = np.radians(45.0)  # beyond which the list's poses say nothing

Blocks = Callable[[float], Iterator[CentralSlices]]


@dataclass(frozen=True, eq=False)
class Map:
    """A volume at the points of a grid.

    Parameters
    ----------
    values : of the confined volume.
    grid : its points.
    scaled : whether its scale is that of the images; else images are told it by their best fit, each its own.
    """

    values: Complex[np.ndarray, "points"]
    grid: FourierGrid
    scaled: bool = True

    def table(self) -> Float[Array, "points 2 1"]:
        """Return what `FourierGrid.interpolated` reads."""
        return _table(jnp.asarray(self.values), self.grid)


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of all particles.

    Parameters
    ----------
    rotation : model to image.
    shift : of the molecule from the origin that the list gives, a part of the box.
    """

    rotation: Float[np.ndarray, "particles 3 3"]
    shift: Float[np.ndarray, "particles 2"]

    def moved(self, slices: CentralSlices, rows: slice | np.ndarray) -> CentralSlices:
        """Return the slices of some particles, which are at the list's, at these poses."""
        phase = np.exp(2j * np.pi * (self.shift[rows] @ slices.frequencies.T)).astype(np.complex64)
        rotation = self.rotation[rows].astype(np.float32)
        return CentralSlices(slices.image * phase, slices.transfer, rotation, slices.frequencies)


@dataclass(frozen=True, eq=False)
class Allowed:
    """Rotations of which each particle's is.

    Parameters
    ----------
    rotation : about which they are.
    within : of which turn, radians.
    """

    rotation: Float[np.ndarray, "particles 3 3"]
    within: float

    def take(self, rows: np.ndarray) -> Allowed:
        """Return those of some particles."""
        return Allowed(self.rotation[rows], self.within)


def found_map(
    slices: CentralSlices,
    ball: float,
    seed: int,
    rings: Sequence[float] = RISING,
    progress: Callable[[float], None] = lambda done: None,
) -> Map:
    """Return a map that explains images of which no pose is known; which way it is turned, and its hand, are chance.

    Parameters
    ----------
    slices : of the particles; their rotations are not looked at.
    ball : radius of the molecule, as a part of the box.
    seed : of the random poses that it begins with, and of which images an iteration takes.
    rings : the highest of each iteration, cycles per box.
    progress : called with the fraction done.
    """
    random = np.random.default_rng(seed)
    half = random.permutation(len(slices)) % 2
    begun = Rotation.random(len(slices), random_state=random).as_matrix().astype(np.float32)
    rows = _some(len(slices), random)
    first = CentralSlices(slices.image[rows], slices.transfer[rows], begun[rows], slices.frequencies)
    grid = _grid(min(rings[0], slices.ring), ball)
    now = _map_of(_sums(first, half[rows], grid), grid)
    for number, wanted in enumerate(rings):
        ring, rows = min(wanted, slices.ring), _some(len(slices), random)
        whole = Rotation.random(random_state=random).as_matrix()
        views = (even_rotations(FINE / ring) @ whole).astype(np.float32)
        low = slices.within(ring)
        shifts = shifts_within(FURTHEST, 1 / (FINER * ring))
        likely, sums, grid = 0.0, None, _grid(ring, ball)
        for one in (0, 1):
            of_half = rows[half[rows] == one]
            seen, said = _weighed_views(low.take(of_half), views, shifts, now)
            made = _sums(seen, np.full(len(views), one), grid)
            sums = made if sums is None else sums + made
            likely += said
        if sums is None:
            raise ValueError("no images")
        now = _map_of(sums, grid)
        LOGGER.debug(
            "iteration %d, ring %g: %d views, log p %.3f an image", number, ring, len(views), likely / len(rows)
        )
        progress((number + 1) / len(rings))
    return now


def search_poses(
    blocks: Blocks,
    given: Poses,
    ball: float,
    within: float,
    start: Map | None,
    highest: float,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
) -> Poses:
    """Return the most probable poses of images to one map, made anew of them each time.

    Parameters
    ----------
    blocks : yields the particles' slices up to a ring, at the list's poses, in blocks that are the same each time.
    given : the list's rotations, with no shifts.
    ball : radius of the molecule, as a part of the box.
    within : of which turn from the list's a pose may be, radians; all rotations are tried above `MOST_ABOUT`.
    start : the map to begin with; None for that of the poses given.
    highest : ring that there is, cycles per box.
    seed : which images are of which half-set.
    progress : called with the fraction done.
    """
    half = np.random.default_rng(seed).permutation(len(given.rotation)) % 2
    rounds: list[tuple[float, float | None]] = [(ring, None) for ring in ALL_ROUND if within > FINE / ring]
    reach = min(within, FINE / ALL_ROUND[-1])
    rounds += [(ring, reach / 2**number) for number, ring in enumerate(ABOUT)]
    allowed = None if within > MOST_ABOUT else Allowed(given.rotation, within)
    poses, now = given, start
    for number, (wanted, turn) in enumerate(rounds):
        ring = min(wanted, highest)
        if now is None:
            now = _made(blocks, poses, half, ring, ball)
        poses = _most_probable(blocks, poses, now, ring, turn, FURTHER if number else FURTHEST, allowed)
        now = None
        progress((number + 1) / len(rounds))
    return poses


def _some(count: int, random: np.random.Generator) -> np.ndarray:
    """Return the rows of as many images as an iteration takes."""
    return np.sort(random.choice(count, min(count, IMAGES), replace=False))


def _sums(seen: CentralSlices, half: np.ndarray, grid: FourierGrid) -> Sums:
    """Return the sums of one class whose half-sets are given."""
    made = sums_of(on_grid(seen, grid), half, 2)  # half-sets in place of classes
    whole = made.whole()
    return Sums(np.swapaxes(whole.numerator, 0, 1), np.swapaxes(whole.weight, 0, 1))


def _grid(ring: float, ball: float) -> FourierGrid:
    return FourierGrid(float(ring), OVERSAMPLING, ball)


def _map_of(sums: Sums, grid: FourierGrid) -> Map:
    return Map(solved(sums.whole(), grid, signal_power(sums, grid))[0, 0], grid)


def _made(blocks: Blocks, poses: Poses, half: np.ndarray, ring: float, ball: float) -> Map:
    """Return the map of all images at some poses."""
    grid, sums, start = _grid(ring, ball), None, 0
    for block in blocks(ring):
        rows = slice(start, start + len(block))
        made = _sums(poses.moved(block, rows), half[rows], grid)
        sums = made if sums is None else sums + made
        start += len(block)
    if sums is None:
        raise ValueError("no particles")
    return _map_of(sums, grid)


def _most_probable(
    blocks: Blocks, poses: Poses, now: Map, ring: float, reach: float | None, furthest: float, allowed: Allowed | None
) -> Poses:
    """Return the most probable poses on a grid: of all rotations, or of turns about the poses so far.

    Parameters
    ----------
    reach : the largest turn; None for all rotations.
    furthest : the largest shift from that so far, a part of the box.
    allowed : where each may be of all rotations; None for anywhere.
    """
    rotation, shift = poses.rotation.copy(), poses.shift.copy()
    shifts = shifts_within(furthest, 1 / (FINER * ring) / (1 if reach is None else 2))
    views = even_rotations(FINE / ring).astype(np.float32) if reach is None else None
    turns = None if reach is None else turns_within(reach, min(reach, FINE / ring) / 2)
    start = 0
    for block in blocks(ring):
        rows = np.arange(start, start + len(block))
        moved = poses.moved(block, rows)
        if views is not None:
            view, moved_by = _best_views(moved, views, shifts, now, None if allowed is None else allowed.take(rows))
            rotation[rows] = views[view]
        elif turns is not None:
            turn, moved_by = _best_turns(moved, turns, shifts, now)
            rotation[rows] = Rotation.from_rotvec(turns[turn]).as_matrix() @ poses.rotation[rows]
        shift[rows] += shifts[moved_by]
        start += len(block)
    return Poses(rotation, shift)


def _weighed_views(low: CentralSlices, views: np.ndarray, shifts: np.ndarray, now: Map) -> tuple[CentralSlices, float]:
    """Return the sums of images at every view, as slices of the same sums, and log p of all images."""
    read = _views(now.table(), jnp.asarray(views), jnp.asarray(low.frequencies), now.grid)
    numerator = jnp.zeros(read.shape, jnp.complex64)
    weight, likely = jnp.zeros(read.shape, jnp.float32), 0.0
    for image, passed, _, _ in _parts(low, len(shifts) * len(views)):
        more, squares, said = _expected(image, passed, jnp.asarray(low.frequencies), jnp.asarray(shifts), read)
        numerator, weight, likely = numerator + more, weight + squares, likely + float(said)
    passed = np.sqrt(np.maximum(np.asarray(weight), 1e-20))
    return CentralSlices(np.asarray(numerator) / passed, passed, views, low.frequencies), likely


def _best_views(
    moved: CentralSlices, views: np.ndarray, shifts: np.ndarray, now: Map, allowed: Allowed | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable view and shift of each image, of views that are allowed to it."""
    at = jnp.asarray(moved.frequencies), jnp.asarray(shifts, jnp.float32), jnp.asarray(views, jnp.float32)
    read = _views(now.table(), at[2], at[0], now.grid)
    within = np.pi if allowed is None else allowed.within
    about = moved if allowed is None else dataclasses.replace(moved, rotation=allowed.rotation.astype(np.float32))
    least = jnp.float32(1 + 2 * np.cos(within) - 1e-4)  # trace of the turn between a view and the list's
    found = [
        np.asarray(_best(image, passed, rotation, least, *at, read, now.scaled))[:count]
        for image, passed, rotation, count in _parts(about, len(shifts) * len(views))
    ]
    shift, view = np.divmod(np.concatenate(found), len(views))
    return view, shift


def _best_turns(moved: CentralSlices, turns: np.ndarray, shifts: np.ndarray, now: Map) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable turn and shift of each image."""
    at = jnp.asarray(moved.frequencies), jnp.asarray(shifts, jnp.float32), jnp.asarray(turns, jnp.float32)
    table, found = now.table(), []
    size = len(turns) * (8 * len(moved.frequencies) + len(shifts))
    for image, passed, rotation, count in _parts(moved, size):
        found.append(np.asarray(_best_about(image, passed, rotation, *at, table, now.grid, now.scaled))[:count])
    shift, turn = np.divmod(np.concatenate(found), len(turns))
    return turn, shift


def _parts(slices: CentralSlices, size: int) -> Iterator[tuple[Array, Array, Array, int]]:
    """Yield x, τ and rotation of as many images as fit, and how many there are: the last are padded with none.

    Parameters
    ----------
    size : numbers that are held for each image.
    """
    together = max(1, min(SCORES // size, len(slices)))
    for start in range(0, len(slices), together):
        rows = np.arange(start, min(start + together, len(slices)))
        padded = slices.take(np.resize(rows, together))
        there = np.arange(together) < len(rows)
        image, passed = padded.image * there[:, None], padded.transfer * there[:, None]
        yield jnp.asarray(image), jnp.asarray(passed), jnp.asarray(padded.rotation), len(rows)


@partial(jax.jit, static_argnames="grid")
def _table(values: Array, grid: FourierGrid) -> Array:
    made = grid.unsmoothed(values[None])[0]
    return jnp.stack([made.real, made.imag], axis=1)[:, :, None]


@partial(jax.jit, static_argnames="grid")
def _views(table: Array, rotation: Array, frequencies: Array, grid: FourierGrid) -> Array:
    """Return P_g V of each rotation."""

    def one(rotation: Array) -> Array:
        read = grid.interpolated(table, slice_frequencies(rotation, frequencies))[:, :, 0]
        return jax.lax.complex(read[:, 0], read[:, 1])

    found: Array = jax.lax.map(one, rotation, batch_size=VIEWS_AT_ONCE)
    return found


def _parted(values: Array) -> Array:
    """Return real and imaginary parts, one after the other."""
    return jnp.concatenate([values.real, values.imag], axis=-1)


def _shifted(image: Array, passed: Array, frequencies: Array, shifts: Array) -> Array:
    """Return x exp(2πi f·d) τ of each image and shift."""
    wave = jnp.exp(2j * jnp.pi * jnp.matmul(shifts, frequencies.T, precision=HIGHEST))
    return (image * passed)[:, None] * wave.astype(jnp.complex64)


def _scores(moved: Array, passed: Array, views: Array, scaled: bool = True) -> Array:
    """Return log p of each image, shift and view, but for what the image alone decides.

    Where the views' scale is not known it is the best that is not negative, max_a 2 a c - a² s = max(c, 0)² / s.
    """
    cross = jnp.matmul(_parted(moved), _parted(views).T)
    square = jnp.matmul(passed**2, jnp.abs(views.T) ** 2)[:, None]
    return 2 * cross - square if scaled else jnp.maximum(cross, 0.0) ** 2 / jnp.maximum(square, 1e-20)


@partial(jax.jit, static_argnames="scaled")
def _best(
    image: Array,
    passed: Array,
    about: Array,
    least: Array,
    frequencies: Array,
    shifts: Array,
    rotation: Array,
    views: Array,
    scaled: bool,
) -> Array:
    """Return the place of each image's best among shifts × views, of those near enough to a rotation of its own."""
    scores = _scores(_shifted(image, passed, frequencies, shifts), passed, views, scaled)
    trace = jnp.matmul(about.reshape(-1, 9), rotation.reshape(-1, 9).T, precision=HIGHEST)
    scores = jnp.where((trace >= least)[:, None], scores, -jnp.inf)
    return jnp.argmax(scores.reshape(len(image), -1), axis=1)


@jax.jit
def _expected(
    image: Array, passed: Array, frequencies: Array, shifts: Array, views: Array
) -> tuple[Array, Array, Array]:
    """Return sums of weight × x τ and of weight × τ² at each view, and log p of the images."""
    moved = _shifted(image, passed, frequencies, shifts)
    scores = _scores(moved, passed, views)
    total = jax.scipy.special.logsumexp(scores, axis=(1, 2), keepdims=True)
    weight = jnp.exp(scores - total)
    numerator = jnp.matmul(weight.reshape(-1, len(views)).T, _parted(moved).reshape(-1, 2 * moved.shape[-1]))
    real, imaginary = jnp.split(numerator, 2, axis=-1)
    seen = jnp.any(passed > 0, axis=1)
    return (
        jax.lax.complex(real, imaginary),
        jnp.matmul(weight.sum(axis=1).T, passed**2),
        jnp.sum(jnp.where(seen, total[:, 0, 0], 0.0)),
    )


@partial(jax.jit, static_argnames=("grid", "scaled"))
def _best_about(
    image: Array,
    passed: Array,
    rotation: Array,
    frequencies: Array,
    shifts: Array,
    turns: Array,
    table: Array,
    grid: FourierGrid,
    scaled: bool,
) -> Array:
    """Return the place of each image's best among shifts × turns about its own rotation."""

    def one(image: Array, passed: Array, rotation: Array) -> Array:
        about = jax.vmap(lambda turn: turned(rotation, turn))(turns)
        read = jax.vmap(lambda one: grid.interpolated(table, slice_frequencies(one, frequencies))[:, :, 0])(about)
        views = jax.lax.complex(read[..., 0], read[..., 1])
        moved = _shifted(image[None], passed[None], frequencies, shifts)
        return jnp.argmax(_scores(moved, passed[None], views, scaled).reshape(-1))

    found: Array = jax.vmap(one)(image, passed, rotation)
    return found
