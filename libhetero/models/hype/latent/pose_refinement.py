"""Poses of a mixture's particles refined about the list's, against the volumes of their classes.

A particle of class k was seen at the pose R' = exp([w]×) R, t' = t + d, with (R, t) the list's, and w (radians, about
the axes of the image) and d (along them) small, N(0, s_r²) and N(0, s_t²) along each axis, s_r and s_t learnt from the
set. With x and τ of its slice (`central`), α its contrast, V the volume of its class made of the *other* half-set (in
one's own, the image's noise holds it where it is),

    x = m + noise,   m = α τ V(k') exp(-2πi f·d),   k' = R'ᵀ (f, 0)
    ∂m/∂d = -2πi f m,   ∂m/∂w_j = α τ exp(-2πi f·d) ∇V(k') · R'ᵀ ((f, 0) × e_j),   ∇V the transform of -2πi r V(r)

are solved by Gauss-Newton steps for the most probable (w, d), coarse to fine: what a displacement changes is linear as
long as phases turn by less than a radian, so that each step sees √2 times as many rings as the one before. Steps that
do not explain the image better, weighed with what (w, d) costs, are not taken. Volumes are then made anew, of slices
at the refined poses, and each of a few rounds begins with the poses of the one before.

References
----------
Maximum a posteriori poses with learnt widths: Scheres, J. Struct. Biol. 180 (2012) 519.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from libhetero.models.blocks import in_lanes
from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.volumes import places_among, signal_power, solved, sums_of
from libhetero.physics.rotations import HIGHEST, turned
from libhetero.physics.slices import slice_frequencies

LOGGER = logging.getLogger(__name__)
STEPS = 4, 2, 2  # of each round: from the list's poses over many rings, then from those of the round before
FIRST_TURN, FIRST_SHIFT = np.radians(4.0), 0.015  # s_r, and s_t as a part of the box, before the set has told them
LEAST, MOST = 1e-3, 4.0  # parts of these between which they lie
MOST_LEARNT = 4096  # particles of which they are learnt
KINDS = (3, 2)  # numbers of a turn, and of a shift
TOGETHER = 64  # particles solved for at once
PIECE_BYTES = 450  # a pixel of a particle that is solved for, as measured
MOST_HELD = 2**30  # bytes of those that are solved for at a time
SMOOTH = 0.03  # of the box: over which half-sets are compared in real space
STATE = 5  # numbers of a particle: turn about x, y and z, shift along x and y
MOST_TABLES = 2**30  # bytes of the volumes of some classes and their gradients, at once
TABLE_BYTES = 2 * 8 * 2 + 2 * 12  # a point: of both half-sets, a volume and its gradient in half precision; its sums
OVERSAMPLING = (1.5, 1.25, 1.0)
MOST_PARTS = 8  # of the classes, each of which goes through all images, where a finer grid makes several necessary

Blocks = Callable[[float], Iterator[CentralSlices]]


@dataclass(frozen=True, eq=False)
class Placed:
    """What the list's poses are off by.

    Parameters
    ----------
    state : w in radians and d as a part of the box, of each particle; 0 for those of no class.
    deviation : their posterior standard deviations; s_r and s_t for those of no class.
    spread : s_r and s_t.
    """

    state: Float[np.ndarray, "particles 5"]
    deviation: Float[np.ndarray, "particles 5"]
    spread: tuple[float, float]

    @property
    def turn(self) -> Float[np.ndarray, "particles 3"]:
        """W of each particle, radians."""
        return self.state[:, :3]

    @property
    def shift(self) -> Float[np.ndarray, "particles 2"]:
        """D of each particle, a part of the box."""
        return self.state[:, 3:]


@dataclass(frozen=True, eq=False)
class Found:
    """What images say of poses.

    Parameters
    ----------
    state : of each particle, the most probable one that was met; 0 where nothing is known.
    hessian, target : H and b about it; 0 where nothing is known.
    """

    state: Float[np.ndarray, "particles 5"]
    hessian: Float[np.ndarray, "particles 5 5"]
    target: Float[np.ndarray, "particles 5"]

    @classmethod
    def nothing(cls, count: int) -> Found:
        """Return what nothing says of so many particles."""
        return cls(*(np.zeros((count, *shape), np.float32) for shape in ((STATE,), (STATE, STATE), (STATE,))))

    def put(self, rows: Int[np.ndarray, "rows"], parts: tuple[np.ndarray, ...]) -> None:
        """Take down state, H and b of some particles in the order of their rows; there may be more, which are padding.

        What is no number is taken for nothing.
        """
        cut = [part[: len(rows)] for part in parts]
        finite = np.all([np.isfinite(part).reshape(len(rows), -1).all(axis=1) for part in cut], axis=0)
        for whole, part in zip((self.state, self.hessian, self.target), cut, strict=True):
            whole[rows[finite]] = part[finite]

    def __add__(self, other: Found) -> Found:
        """Return what both say, each of other particles."""
        return Found(self.state + other.state, self.hessian + other.hessian, self.target + other.target)

    @property
    def known(self) -> Bool[np.ndarray, "particles"]:
        """Of which particles anything is known."""
        return np.asarray(self.hessian.any(axis=(1, 2)))

    def deviation(self, spread: Float[np.ndarray, "5"]) -> Float[np.ndarray, "particles 5"]:
        """Return posterior standard deviations, roots of the diagonal of (H + S⁻²)⁻¹."""
        scaled = spread[:, None] * self.hessian.astype(np.float64) * spread + np.eye(STATE)
        return spread * np.sqrt(np.diagonal(np.linalg.inv(scaled), axis1=1, axis2=2))


def refine_poses(
    blocks: Blocks,
    label: Int[np.ndarray, "particles"],
    contrast: Float[np.ndarray, "particles"],
    ring: float,
    ball: float,
    half: Int[np.ndarray, "particles"] | None = None,
) -> Placed:
    """Return the most probable poses of particles whose classes are known.

    Parameters
    ----------
    blocks : yields the particles' slices up to a ring, at the list's poses, in blocks that are the same each time.
    label : class of each particle, from 0; -1 for none.
    contrast : α of each.
    ring : the highest, cycles per box.
    ball : radius of the molecules, as a part of the box.
    half : half-set of each particle, 0 or 1, where several of them are images of one; None to draw it.
    """
    classes = int(label.max(initial=-1)) + 1
    state = np.zeros((len(label), STATE), np.float32)
    spread = np.array([FIRST_TURN] * 3 + [FIRST_SHIFT] * 2)
    grid = _grid_of(ring, ball, classes)
    together = _together(grid)
    for number, steps in enumerate(STEPS):
        at = label, contrast, state, spread, grid, steps, half
        parts = (np.arange(first, min(first + together, classes)) for first in range(0, classes, together))
        found = reduce(add, (_of_classes(blocks, chosen, *at) for chosen in parts))
        spread = _learnt(found, spread)
        state = found.state
        LOGGER.info(
            "poses, round %d: those before were off by %.2g degrees and %.2g %% of the box along each axis",
            number + 1,
            np.degrees(spread[0]),
            100 * spread[3],
        )
    return Placed(state, found.deviation(spread), (float(spread[0]), float(spread[3])))


def _grid_of(ring: float, ball: float, classes: int) -> FourierGrid:
    """Return the finest grid on which classes, as many as fit into memory at a time, make few enough parts; else the
    coarsest, cut where not one class fits; and tell where it is less than what is asked for.
    """
    whole = [FourierGrid(ring, finer, ball) for finer in OVERSAMPLING]
    found = next((grid for grid in whole if _together(grid) and -(-classes // _together(grid)) <= MOST_PARTS), None)
    if found is None:
        cut = (FourierGrid(float(one), OVERSAMPLING[-1], ball) for one in np.arange(ring, 0, -1))
        found = next(grid for grid in cut if _together(grid))
    if found != whole[0]:
        LOGGER.warning(
            "volumes of %d classes take much memory: poses are refined on %g of %g rings, oversampled %g times and not "
            "%g, and are a little less exact for it",
            classes,
            found.ring,
            ring,
            found.oversampling,
            OVERSAMPLING[0],
        )
    return found


def _together(grid: FourierGrid) -> int:
    """Return of how many classes the volumes fit into memory at a time."""
    return MOST_TABLES // (TABLE_BYTES * grid.size)


def _of_classes(
    blocks: Blocks,
    chosen: Int[np.ndarray, "chosen"],
    label: Int[np.ndarray, "particles"],
    contrast: Float[np.ndarray, "particles"],
    state: Float[np.ndarray, "particles 5"],
    spread: Float[np.ndarray, "5"],
    grid: FourierGrid,
    steps: int,
    half: Int[np.ndarray, "particles"] | None,
) -> Found:
    """Return what the image of each particle of some classes says of its pose; nothing of others."""
    own, rows, halves = places_among(label, chosen), [], []
    start, sums = 0, None
    for block in blocks(grid.ring):
        of_block = np.arange(start, start + len(block))
        seen = on_grid(_moved(block, state[of_block]), grid)
        seen = seen if half is None else replace(seen, given_half=half[of_block])
        made = sums_of(seen, own[of_block], len(chosen))
        sums = made if sums is None else sums + made
        halves.append(seen.half)
        rows.append(of_block)
        start += len(block)
    if sums is None:
        raise ValueError("no particles")
    tables, unit = _tables(solved(sums, grid, signal_power(sums, grid)), grid)
    held = {device: jax.device_put(tables, device) for device in jax.local_devices()}
    found = Found.nothing(len(label))
    for block, of_block, drawn in zip(blocks(grid.ring), rows, halves, strict=True):
        table = 2 * own[of_block] + 1 - drawn  # of the other half-set
        at = block, unit * contrast[of_block], state[of_block], table, held, spread, grid, steps
        for some, parts in _in_pieces(np.flatnonzero(own[of_block] >= 0), *at):
            found.put(of_block[some], parts)
    return found


def _in_pieces(
    inside: Int[np.ndarray, "inside"],
    block: CentralSlices,
    contrast: Float[np.ndarray, "block"],
    state: Float[np.ndarray, "block 5"],
    table: Int[np.ndarray, "block"],
    held: dict[jax.Device, Array],
    spread: Float[np.ndarray, "5"],
    grid: FourierGrid,
    steps: int,
) -> Iterator[tuple[Int[np.ndarray, "some"], tuple[np.ndarray, ...]]]:
    """Yield rows of a block, some at a time, and what `_solved` returns of them; the last are padded.

    Parameters
    ----------
    inside : rows.
    held : the volumes, on every device.
    """
    pieces = [inside[first : first + TOGETHER] for first in range(0, len(inside), TOGETHER)]

    def solve(number: int, device: jax.Device) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        rows = np.resize(pieces[number], TOGETHER)
        with jax.default_device(device):
            seen = block.take(rows), contrast[rows], state[rows], table[rows], held[device]
            return pieces[number], _solved(*seen, spread, grid, steps)

    together = max(1, MOST_HELD // (PIECE_BYTES * TOGETHER * len(block.frequencies)))
    return in_lanes(solve, len(pieces), together)


def _moved(slices: CentralSlices, state: Float[np.ndarray, "particles 5"]) -> CentralSlices:
    """Return slices at their refined poses."""
    rotation = np.asarray(jax.vmap(turned)(jnp.asarray(slices.rotation), jnp.asarray(state[:, :3])))
    return slices.at(rotation, state[:, 3:])


def _tables(
    volumes: Complex[np.ndarray, "classes halves points"], grid: FourierGrid
) -> tuple[Float[Array, "all 2 4"], float]:
    """Return volumes and the transforms of 2π r V, real and imaginary parts, one after the other, and their unit.

    In half precision, in which numbers are of a size that it holds: over the highest value of all volumes.
    """
    unit = max(float(np.abs(volumes).max(initial=0)), 1e-30)
    found = []
    for halves in volumes:
        support = _support(halves, grid)
        for volume in halves:
            columns = grid.with_moments(volume / unit, support).T
            found.append(np.stack([np.asarray(columns.real), np.asarray(columns.imag)], axis=1).astype(np.float16))
    return jnp.asarray(np.concatenate(found)), unit


def _support(halves: Complex[np.ndarray, "2 points"], grid: FourierGrid) -> Float[np.ndarray, "edge edge edge"]:
    """Return where half-sets' volumes agree, from 0 to 1: their product, smoothed, over their mean square, smoothed.

    A gradient weighs what is far from the centre most, where a ball that all molecules fit in holds noise alone.
    """
    first, second = (np.asarray(grid.in_space(half)) for half in halves)
    blurred = partial(gaussian_filter, sigma=SMOOTH * grid.edge / grid.oversampling, mode="wrap")
    power = blurred(first**2 + second**2) / 2
    return np.clip(blurred(first * second) / np.maximum(power, 1e-30 + 1e-6 * power.max()), 0, 1)


def _solved(
    slices: CentralSlices,
    contrast: Float[np.ndarray, "some"],
    state: Float[np.ndarray, "some 5"],
    table: Int[np.ndarray, "some"],
    tables: Float[Array, "all 2 4"],
    spread: Float[np.ndarray, "5"],
    grid: FourierGrid,
    steps: int,
) -> tuple[np.ndarray, ...]:
    """Return pose, H and b of some particles."""
    slices = replace(slices, transfer=slices.transfer * contrast[:, None])
    begun = now = jnp.asarray(state)
    at = table, tables, jnp.asarray(spread, jnp.float32), grid
    for left in reversed(range(steps)):
        low = slices.within(grid.ring / 2 ** (left / 2))
        now = _stepped(low.image, low.transfer, low.rotation, low.frequencies, now, *at)
    found = _weighed(slices.image, slices.transfer, slices.rotation, slices.frequencies, begun, now, *at)
    return tuple(np.asarray(part) for part in found)


def _linearised(
    image: Array,
    passed: Array,
    rotation: Array,
    frequencies: Array,
    state: Array,
    table: Array,
    tables: Array,
    grid: FourierGrid,
) -> tuple[Array, Array, Array]:
    """Return |x - m|², and H and the gradient of -|x - m|² by (w, d)."""
    placed = turned(rotation, state[:3])
    read = grid.interpolated(tables, slice_frequencies(placed, frequencies), table * grid.size)
    values = jax.lax.complex(read[:, 0], read[:, 1])
    factor = passed * jnp.exp(-2j * np.pi * jnp.matmul(frequencies, state[3:], precision=HIGHEST))
    made = factor * values[:, 0]
    # ∇V in the frame of the image; V is the transform of v, ∇V that of -2πi r v
    across = -1j * factor[:, None] * jnp.matmul(values[:, 1:], placed.T.astype(values.dtype), precision=HIGHEST)
    fx, fy = frequencies.T
    turns = [-fy * across[:, 2], fx * across[:, 2], fy * across[:, 0] - fx * across[:, 1]]
    columns = jnp.stack([*turns, -2j * np.pi * fx * made, -2j * np.pi * fy * made])
    rest = image - made
    flat = jnp.concatenate([columns.real, columns.imag], axis=1)
    off = jnp.concatenate([rest.real, rest.imag])
    hessian = 2 * jnp.matmul(flat, flat.T, precision=HIGHEST)
    return jnp.sum(off**2), hessian, 2 * jnp.matmul(flat, off, precision=HIGHEST)


@partial(jax.jit, static_argnames="grid")
def _stepped(
    image: Array,
    passed: Array,
    rotation: Array,
    frequencies: Array,
    state: Array,
    table: Array,
    tables: Array,
    spread: Array,
    grid: FourierGrid,
) -> Array:
    """Return states after one Gauss-Newton step, in units of the spreads, where all numbers are of one size."""

    def one(image: Array, passed: Array, rotation: Array, state: Array, table: Array) -> Array:
        _, hessian, slope = _linearised(image, passed, rotation, frequencies, state, table, tables, grid)
        precision = spread[:, None] * hessian * spread + jnp.eye(STATE)
        uphill = spread * slope - state / spread
        return state + spread * jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(precision), uphill)

    found: Array = jax.vmap(one)(image, passed, rotation, state, table)
    return found


@partial(jax.jit, static_argnames="grid")
def _weighed(
    image: Array,
    passed: Array,
    rotation: Array,
    frequencies: Array,
    begun: Array,
    state: Array,
    table: Array,
    tables: Array,
    spread: Array,
    grid: FourierGrid,
) -> tuple[Array, Array, Array]:
    """Return the more probable of two states, and H and b about it: log p = -½ sᵀHs + bᵀs."""

    def one(image: Array, passed: Array, rotation: Array, begun: Array, state: Array, table: Array) -> Any:
        def at(where: Array) -> tuple[Array, ...]:
            error, hessian, slope = _linearised(image, passed, rotation, frequencies, where, table, tables, grid)
            return error + 0.5 * jnp.sum((where / spread) ** 2), where, hessian, slope + hessian @ where

        before, after = at(begun), at(state)
        better = after[0] < before[0]  # not where it is no number
        return tuple(jnp.where(better, new, old) for new, old in zip(after[1:], before[1:], strict=True))

    found: tuple[Array, Array, Array] = jax.vmap(one)(image, passed, rotation, begun, state, table)
    return found


def _learnt(found: Found, spread: Float[np.ndarray, "5"]) -> Float[np.ndarray, "5"]:
    """Return the spreads under which what the particles say is the most probable, poses integrated over.

    log p = Σ ½ bᵀ (H + S⁻²)⁻¹ b - ½ log |1 + S H S|, of a few thousand of them, those spread over all.
    """
    known = np.flatnonzero(found.known)
    if not len(known):
        return spread
    chosen = known[np.unique(np.linspace(0, len(known) - 1, MOST_LEARNT).astype(int))]
    hessian, target = found.hessian[chosen].astype(np.float64), found.target[chosen].astype(np.float64)

    def lack(logarithms: np.ndarray) -> float:
        scale = np.exp(np.repeat(logarithms, KINDS))
        factor = np.linalg.cholesky(scale[:, None] * hessian * scale + np.eye(STATE))
        whitened = np.linalg.solve(factor, (scale * target)[:, :, None])
        determinant = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum()
        return float(determinant - 0.5 * (whitened**2).sum()) / len(chosen)

    first = np.log([FIRST_TURN, FIRST_SHIFT])
    bounds = [(one + np.log(LEAST), one + np.log(MOST)) for one in first]
    begun = np.clip(np.log(spread[[0, 3]]), *np.transpose(bounds))
    best = minimize(lack, begun, method="Nelder-Mead", bounds=bounds, options={"xatol": 0.005, "fatol": 1e-7})
    return np.exp(np.repeat(best.x, KINDS))
