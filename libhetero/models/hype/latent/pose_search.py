"""Poses found by search, far from the list's or from nothing: images against views of one map, coarse to fine.

With x and τ of an image's slice (`central`), V the map and P_g V its slice at a rotation g,

    log p(x | g, d) = 2 Re Σ conj(x exp(2πi f·d)) τ P_g V - Σ τ² |P_g V|² + what neither depends on

for shifts d on a grid. Over all rotations both sums are products of matrices, of images with views that they share;
about a pose that is known roughly, each image has views of its own. How finely rotations and shifts must lie goes with
the highest ring: a view turned by less than a pixel of it looks alike.

**From nothing** (`found_map`): expectation maximisation of one map from random poses. Each iteration takes some images,
weighs every (g, d) of each by its probability, and makes the map anew of all views, each of the sums over images of
weight × x and weight × τ² at it (two more products of matrices). Rotations are turned at random as a whole each time,
so that their grid is no part of the map; rings rise as the iterations go, further where images do not tell views apart
by then. How the whole is turned, and its hand, no image says: the map may be the mirror image. Images that it is not
made of say whether it is one at all.

**To a map** (`search_poses`): each image takes the most probable pose of a grid, over all rotations or about its own,
then a map is made of each half-set, and the search repeated against that of the other, about each pose at half the
spacing and on more rings. The first map is one for both, so that half-sets are not independent on the rings that it has
(8, or what those of the first poses have in common). What is left is for `pose_refinement`.

Views are plain rotations: a magnification that differs along two axes, which is a percent or two, is not looked at.

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
from libhetero.models.hype.latent.grid import FourierGrid, few_sizes, on_grid
from libhetero.models.hype.latent.volumes import Sums, signal_power, solved, sums_of
from libhetero.physics.rotation_grids import even_rotations, shifts_within, turns_within
from libhetero.physics.rotations import HIGHEST, turned
from libhetero.physics.slices import slice_frequencies

LOGGER = logging.getLogger(__name__)
FINE = 1.6  # pixels of the highest ring by which views that are next to each other are turned
FINER = 4  # shifts to a wave of the highest ring
OVERSAMPLING = 1.5
MOST_STEPS = 2  # shifts to each side of the origin that are tried for a map from nothing
FURTHEST, FURTHER = 0.1, 0.035  # of the box: from the origins of the list, at first, and from those found since
RISING = (4,) * 6 + (5,) * 6 + (6,) * 6 + (7,) * 6 + (8,) * 6  # rings of the iterations from nothing
BEYOND = (10,) * 8 + (12,) * 40  # and where images do not tell views apart by then, until they do
APART = 0.5  # mean probability of the most probable view of an image, from which on they are told apart
IMAGES = 1000  # of an iteration
SCORES = 2**25  # numbers held at once: of images × shifts × views
VIEWS_AT_ONCE = 256
KEPT_OUT, MOST_KEPT_OUT = 0.2, 500  # of the images, that a map from nothing is not made of, and how many
SURE = 4.0  # standard errors
ALL_ROUND, ABOUT = (8, 12, 12), (12, 14)  # rings of searches over all rotations, and of those about a pose

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

    def averaged(self) -> Map:
        """Return the map averaged over all rotations, which says nothing of any."""
        shell = np.rint(self.grid.radius * self.grid.oversampling).astype(np.int64)
        profile = np.bincount(shell, self.values.real) / np.maximum(np.bincount(shell), 1)
        return dataclasses.replace(self, values=profile[shell].astype(np.complex64))

    def views(self, rotation: Float[np.ndarray, "views 3 3"], frequencies: Float[np.ndarray, "pixels 2"]) -> Array:
        """Return P_g V at each rotation."""
        return _views(self.table(), jnp.asarray(rotation), jnp.asarray(frequencies), self.grid)

    def table(self) -> Float[Array, "points 2 1"]:
        """Return what `FourierGrid.interpolated` reads."""
        return _table(jnp.asarray(self.values), self.grid)


@dataclass(frozen=True, eq=False)
class Begun:
    """A map from nothing.

    Parameters
    ----------
    map : found.
    apart : mean probability of the most probable view of an image.
    gain, error : of log p of images that it was not made of over what the map averaged over rotations gives them, the
        mean and its standard error. Noise that was fitted gains nothing.
    """

    map: Map
    apart: float
    gain: float
    error: float

    @property
    def borne_out(self) -> bool:
        """Whether images that it was not made of tell rotations of it, and nearly each its own."""
        return self.gain > SURE * self.error and self.apart >= APART


@dataclass(frozen=True, eq=False)
class Weighed:
    """Images at all views.

    Parameters
    ----------
    sums : slices whose sums at each view are those of the images.
    likely : log p of each image, all views and shifts weighed.
    apart : probability of the most probable view of each.
    """

    sums: CentralSlices
    likely: Float[np.ndarray, "images"]
    apart: Float[np.ndarray, "images"]


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


@dataclass(frozen=True)
class Round:
    """One search of all images.

    Parameters
    ----------
    ring : the highest, cycles per box.
    reach : the largest turn from the poses so far, radians; None for views all round.
    furthest : the largest shift from these, a part of the box.
    """

    ring: float
    reach: float | None = None
    furthest: float = FURTHEST

    def shifts(self) -> Float[np.ndarray, "shifts 2"]:
        """Return those to try, twice as fine about a pose."""
        return shifts_within(self.furthest, 1 / (FINER * self.ring) / (1 if self.reach is None else 2))


def found_map(
    slices: CentralSlices,
    ball: float,
    seed: int,
    rings: Sequence[float] = RISING,
    beyond: Sequence[float] = BEYOND,
    progress: Callable[[float], None] = lambda done: None,
) -> Begun:
    """Return a map that explains images of which no pose is known; which way it is turned, and its hand, are chance.

    Parameters
    ----------
    slices : of the particles; their rotations are not looked at.
    ball : radius of the molecule, as a part of the box.
    seed : of the random poses that it begins with, and of which images an iteration takes.
    rings : the highest of each iteration, cycles per box.
    beyond : of those that follow until images tell views apart.
    progress : called with the fraction done.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(slices))
    out, order = np.split(order, [min(round(KEPT_OUT * len(order)), MOST_KEPT_OUT)])
    halves = order[::2], order[1::2]
    begun = Rotation.random(len(slices), random_state=random).as_matrix().astype(np.float32)
    first, half = _drawn(halves, random)
    placed = dataclasses.replace(slices, rotation=begun).take(first)
    grid = _grid(min(rings[0], slices.ring), ball)
    now = _map_of(_sums(placed, half, grid), grid)
    apart, every = 0.0, (*rings, *beyond)
    for number, wanted in enumerate(every):
        if number >= len(rings) and apart >= APART:
            break
        ring = min(wanted, slices.ring)
        (rows, half), low, grid = _drawn(halves, random), slices.within(ring), _grid(ring, ball)
        whole = Rotation.random(random_state=random).as_matrix()
        views = (even_rotations(FINE / ring) @ whole).astype(np.float32)
        shifts = shifts_within(min(FURTHEST, MOST_STEPS / (FINER * ring)), 1 / (FINER * ring))
        read = now.views(views, low.frequencies)
        parts = [_weighed_views(low.take(rows[half == one]), views, shifts, read) for one in (0, 1)]
        of_half = [_sums(part.sums, np.full(len(views), one), grid) for one, part in enumerate(parts)]
        now = _map_of(of_half[0] + of_half[1], grid)
        apart, said = (float(np.mean([getattr(part, name) for part in parts])) for name in ("apart", "likely"))
        LOGGER.debug("iteration %d, ring %g: log p %.3f an image, views told apart %.2f", number, ring, said, apart)
        progress((number + 1) / len(every))
    progress(1.0)
    low = slices.within(now.grid.ring).take(out)
    found, flat = (
        _weighed_views(low, views, shifts, one.views(views, low.frequencies)) for one in (now, now.averaged())
    )
    gain = found.likely - flat.likely
    return Begun(now, float(found.apart.mean()), float(gain.mean()), float(gain.std() / np.sqrt(len(gain))))


def search_poses(
    blocks: Blocks,
    given: Poses,
    ball: float,
    within: float | None,
    start: Map | None,
    highest: float,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
) -> Poses:
    """Return the most probable poses of images to one map, made anew of them each time.

    Images that say nothing, of a transfer of 0, stay where they are.

    Parameters
    ----------
    blocks : yields the particles' slices up to a ring, at the list's poses, in blocks that are the same each time.
    given : the list's rotations, with no shifts.
    ball : radius of the molecule, as a part of the box.
    within : of about which turn from the list's a pose may be, radians; None for any.
    start : the map to begin with; None for that of the poses given.
    highest : ring that there is, cycles per box.
    seed : which images are of which half-set.
    progress : called with the fraction done.
    """
    half = np.random.default_rng(seed).permutation(len(given.rotation)) % 2
    least = 0 if start is None else start.grid.ring  # what is told on the rings of the map may not be on fewer
    everywhere, about = ([min(max(ring, least), highest) for ring in rings] for rings in (ALL_ROUND, ABOUT))
    most = np.pi if within is None else within
    rounds = [Round(ring) for ring in everywhere if most > FINE / ring]
    reach = min(most, FINE / everywhere[-1])
    rounds += [Round(ring, reach / 2**number) for number, ring in enumerate(about)]
    allowed = None if within is None else Allowed(given.rotation, within)
    poses, maps = given, None if start is None else (start, start)
    for number, one in enumerate(rounds):
        if maps is None:
            maps = _made(blocks, poses, half, one.ring, ball)
        furthest = FURTHER if number else FURTHEST
        poses = _most_probable(blocks, poses, half, maps, dataclasses.replace(one, furthest=furthest), allowed)
        maps = None
        progress((number + 1) / len(rounds))
    return poses


def _drawn(halves: tuple[np.ndarray, np.ndarray], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of as many images as an iteration takes, the same number of each half-set, and their half-sets."""
    rows = [np.sort(random.choice(half, min(len(half), IMAGES // 2), replace=False)) for half in halves]
    return np.concatenate(rows), np.repeat([0, 1], [len(half) for half in rows])


def _sums(seen: CentralSlices, half: np.ndarray, grid: FourierGrid) -> Sums:
    """Return the sums of one class whose half-sets are given."""
    made = sums_of(on_grid(seen, grid), half, 2)  # half-sets in place of classes
    whole = made.whole()
    return Sums(np.swapaxes(whole.numerator, 0, 1), np.swapaxes(whole.weight, 0, 1))


def _grid(ring: float, ball: float) -> FourierGrid:
    return FourierGrid(float(ring), OVERSAMPLING, ball)


def _map_of(sums: Sums, grid: FourierGrid) -> Map:
    """Return the map of both half-sets together."""
    return Map(solved(sums.whole(), grid, signal_power(sums, grid))[0, 0], grid)


def _made(blocks: Blocks, poses: Poses, half: np.ndarray, ring: float, ball: float) -> tuple[Map, Map]:
    """Return the maps of both half-sets at some poses."""
    grid, sums, start = _grid(ring, ball), None, 0
    for block in blocks(ring):
        rows = np.arange(start, start + len(block))
        made = _sums(block.at(poses.rotation[rows], poses.shift[rows]), half[rows], grid)
        sums = made if sums is None else sums + made
        start += len(block)
    if sums is None:
        raise ValueError("no particles")
    first, second = solved(sums, grid, signal_power(sums, grid))[0]
    return Map(first, grid), Map(second, grid)


def _most_probable(
    blocks: Blocks, poses: Poses, half: np.ndarray, maps: tuple[Map, Map], how: Round, allowed: Allowed | None
) -> Poses:
    """Return the most probable poses on a grid, of each image against the map of the other half-set.

    Parameters
    ----------
    half : half-set of each image.
    maps : of both.
    how : which grid.
    allowed : where each may be of all rotations; None for anywhere.
    """
    rotation, shift, shifts = poses.rotation.copy(), poses.shift.copy(), how.shifts()
    start, views, turns = 0, np.zeros((0, 3, 3), np.float32), np.zeros((0, 3))
    read: list[Array] = []
    if how.reach is None:
        views = even_rotations(FINE / how.ring).astype(np.float32)
    else:
        turns = turns_within(how.reach, min(how.reach, FINE / how.ring) / 2)
    for block in blocks(how.ring):
        if not read and how.reach is None:
            read = [one.views(views, block.frequencies) for one in maps]
        every = np.arange(start, start + len(block))
        placed, told = block.at(poses.rotation[every], poses.shift[every]), block.transfer.any(axis=1)
        for one in (0, 1):
            mine = np.flatnonzero((half[every] == one) & told)
            if not len(mine):
                continue
            rows, moved = every[mine], placed.take(mine)
            if how.reach is None:
                near = None if allowed is None else allowed.take(rows)
                view, place = _best_views(moved, views, shifts, read[1 - one], maps[1 - one].scaled, near)
                found = view >= 0
                rotation[rows[found]] = views[view[found]]
                shift[rows[found]] += shifts[place[found]]
            else:
                turn, place = _best_turns(moved, turns, shifts, maps[1 - one])
                rotation[rows] = Rotation.from_rotvec(turns[turn]).as_matrix() @ poses.rotation[rows]
                shift[rows] += shifts[place]
        start += len(block)
    return Poses(rotation, shift)


def _weighed_views(low: CentralSlices, views: np.ndarray, shifts: np.ndarray, read: Array) -> Weighed:
    """Return what images are at every view, each weighed by its probability."""
    numerator = jnp.zeros(read.shape, jnp.complex64)
    weight, told = jnp.zeros(read.shape, jnp.float32), []
    for image, passed, _, count in _parts(low, len(shifts) * len(views)):
        more, squares, *of_each = _expected(image, passed, jnp.asarray(low.frequencies), jnp.asarray(shifts), read)
        numerator, weight = numerator + more, weight + squares
        told.append(np.stack([np.asarray(one)[:count] for one in of_each]))
    passed = np.sqrt(np.maximum(np.asarray(weight), 1e-20))
    sums = CentralSlices(np.asarray(numerator) / passed, passed, views, low.frequencies)
    return Weighed(sums, *np.concatenate(told, axis=1))


def _best_views(
    moved: CentralSlices,
    views: np.ndarray,
    shifts: np.ndarray,
    read: Array,
    scaled: bool,
    allowed: Allowed | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable view and shift of each image, of views that are allowed to it; view -1 for none."""
    at = jnp.asarray(moved.frequencies), jnp.asarray(shifts, jnp.float32), jnp.asarray(views, jnp.float32)
    within = np.pi if allowed is None else allowed.within
    about = moved if allowed is None else dataclasses.replace(moved, rotation=allowed.rotation.astype(np.float32))
    least = jnp.float32(1 + 2 * np.cos(within) - 1e-4)  # trace of the turn between a view and the list's
    found = [
        np.asarray(_best(image, passed, rotation, least, *at, read, scaled))[:count]
        for image, passed, rotation, count in _parts(about, len(shifts) * len(views))
    ]
    shift, view = np.divmod(np.concatenate(found), len(views))
    return np.where(shift < 0, -1, view), shift


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
    together = max(1, min(SCORES // size, few_sizes(len(slices))))
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
    """Return the place of each image's best among shifts × views near enough to a rotation of its own; -1 for none."""
    scores = _scores(_shifted(image, passed, frequencies, shifts), passed, views, scaled)
    trace = jnp.matmul(about.reshape(-1, 9), rotation.reshape(-1, 9).T, precision=HIGHEST)
    scores = jnp.where((trace >= least)[:, None], scores, -jnp.inf).reshape(len(image), -1)
    return jnp.where(jnp.max(scores, axis=1) > -jnp.inf, jnp.argmax(scores, axis=1), -1)


@jax.jit
def _expected(
    image: Array, passed: Array, frequencies: Array, shifts: Array, views: Array
) -> tuple[Array, Array, Array, Array]:
    """Return sums of weight × x τ and weight × τ² at each view; log p and largest weight of a view of each image."""
    moved = _shifted(image, passed, frequencies, shifts)
    scores = _scores(moved, passed, views)
    total = jax.scipy.special.logsumexp(scores, axis=(1, 2), keepdims=True)
    weight = jnp.exp(scores - total)
    numerator = jnp.matmul(weight.reshape(-1, len(views)).T, _parted(moved).reshape(-1, 2 * moved.shape[-1]))
    real, imaginary = jnp.split(numerator, 2, axis=-1)
    of_views = weight.sum(axis=1)
    squares = jnp.matmul(of_views.T, passed**2)
    return jax.lax.complex(real, imaginary), squares, total[:, 0, 0], of_views.max(axis=1)


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
