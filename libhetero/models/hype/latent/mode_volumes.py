"""Modes of molecules that change on all rings, where the weights of images are known from low ones.

What the volume of a molecule leaves of its images is regressed on their weights, of mean ŵ and covariance C
(`residuals`), point by point:

    N_j = Σ_i ŵ_ij τ_i (x_i - τ_i V),     D_jl = Σ_i (ŵ_ij ŵ_il + C_ijl) τ_i²      at the nearest points of the grid

    U ← M [U + (D + 1 / t)⁻¹ (N - D U)]      from U = 0, a few times

M takes what lies outside of the ball away; t_j is the power of a mode by shell, Σ Re N_j1 N_j2* / Σ D_jj1 D_jj2 of the
half-sets. On the rings that the weights were found on, an image's noise is in its ŵ, which C makes up for. Above them C
is left out, and V + U ŵ is the volume that is to be expected. There modes of one half-set are tried on the other, and
multiplied, shell by shell, by what predicts its images best:

    a = Σ Re U₁* N₂ / Σ U₁* D₂ U₁      of both ways together and of neighbouring shells, between 0 and 1
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int
from scipy.ndimage import uniform_filter1d

from libhetero.models.hype.latent.grid import FourierGrid, OnGrid

STEPS = 5
LEAST_SIGNAL = 1e-6  # of the strongest shell's of a mode
SHELLS = 5  # that are neighbours
BYTES = 40  # of the sums of one mode of one molecule at a point: numerators, and weights with up to four modes


@dataclass(frozen=True, eq=False)
class ModeSums:
    """N and D of molecules and their half-sets, on the host; D of pairs of modes j ≤ l, in order.

    Parameters
    ----------
    numerator, weight : the sums.
    """

    numerator: Complex[np.ndarray, "molecules halves modes points"]
    weight: Float[np.ndarray, "molecules halves pairs points"]

    def __add__(self, other: ModeSums) -> ModeSums:
        return ModeSums(self.numerator + other.numerator, self.weight + other.weight)


def mode_sums(
    seen: OnGrid,
    owner: Int[np.ndarray, "particles"],
    weights: Float[np.ndarray, "particles modes"],
    covariance: Float[np.ndarray, "particles modes modes"],
    volumes: Complex[np.ndarray, "molecules points"],
    known: float,
) -> ModeSums:
    """Return the sums of some particles.

    Parameters
    ----------
    seen : slices, the contrast of each particle in its transfer.
    owner : molecule of each particle, -1 for none of these.
    weights, covariance : ŵ and C of it in the modes of that molecule.
    volumes : V of the molecules.
    known : the highest ring that they were found on.
    """
    row = np.where(owner < 0, 2 * len(volumes), 2 * owner + seen.half)
    first, second = np.triu_indices(weights.shape[1])
    products = weights[:, first] * weights[:, second], covariance[:, first, second]
    found_on = seen.grid.radius <= known
    each = (row, np.maximum(owner, 0), *(one.astype(np.float32) for one in (weights, *products)))
    numerator, weight = _summed(*map(jnp.asarray, (seen.point, seen.image, seen.transfer, *each, volumes, found_on)))
    shape = (-1, 2, volumes.shape[1])
    found = []
    for sums in (numerator, weight):
        found.append(np.stack([np.asarray(one).reshape(shape) for one in sums], axis=2))
    return ModeSums(*found)


@jax.jit
def _summed(
    point: Array,
    image: Array,
    transfer: Array,
    row: Array,
    owner: Array,
    weights: Array,
    product: Array,
    covariance: Array,
    volumes: Array,
    found_on: Array,
) -> tuple[list[Array], list[Array]]:
    left = image - transfer * volumes[owner[:, None], point]
    at, shape = (row[:, None], point), (2 * len(volumes), volumes.shape[1])
    passed, inside = transfer**2, found_on[point]

    def added(values: Array) -> Array:
        total: Array = jnp.zeros(shape, values.dtype).at[at].add(values, mode="drop")
        return total

    numerator = [added(weight[:, None] * transfer * left) for weight in weights.T]
    moments = (
        one[:, None] + jnp.where(inside, two[:, None], 0) for one, two in zip(product.T, covariance.T, strict=True)
    )
    return numerator, [added(moment * passed) for moment in moments]


def mode_volumes(sums: ModeSums, grid: FourierGrid, known: float) -> Complex[np.ndarray, "molecules points modes"]:
    """Return the modes of sums.

    Parameters
    ----------
    sums : of all particles.
    grid : that they are on.
    known : the highest ring that the weights were found on.
    """
    shell = np.rint(grid.radius).astype(np.int64)
    found = np.empty((len(sums.numerator), grid.size, sums.numerator.shape[2]), np.complex64)
    for place, (numerator, weight) in enumerate(zip(sums.numerator, sums.weight, strict=True)):
        inverse = 1 / _power(numerator, weight, shell)[:, shell]
        halves = [_solved(*each, inverse, grid) for each in zip(numerator, weight, strict=True)]
        part = np.where(np.arange(shell.max() + 1) <= known, 1, _agreement(halves, numerator, weight, shell))
        found[place] = (part[shell] * _solved(numerator.sum(axis=0), weight.sum(axis=0), inverse, grid)).T
    return found


def _power(numerator: np.ndarray, weight: np.ndarray, shell: np.ndarray) -> Float[np.ndarray, "modes shells"]:
    """Return t of each mode."""
    modes = numerator.shape[1]
    own = [place for place, (j, k) in enumerate(zip(*np.triu_indices(modes), strict=True)) if j == k]
    cross = (numerator[0].conj() * numerator[1]).real.astype(np.float64)
    both = (weight[0][own] * weight[1][own]).astype(np.float64)
    power = _by_shell(cross, shell) / np.maximum(_by_shell(both, shell), 1e-30)
    found: np.ndarray = np.maximum(power, LEAST_SIGNAL * np.maximum(power.max(axis=1, keepdims=True), 1e-30))
    return found


def _agreement(
    halves: list[np.ndarray], numerator: np.ndarray, weight: np.ndarray, shell: np.ndarray
) -> Float[np.ndarray, "shells"]:
    """Return a of each shell."""
    along = square = np.zeros(shell.max() + 1)
    first, second = np.triu_indices(numerator.shape[1])
    for one, modes in enumerate(halves):
        shown, information = numerator[1 - one], weight[1 - one]
        along = along + _by_shell((modes.conj() * shown).real.sum(axis=0)[None], shell)[0]
        twice = np.where(first == second, 1, 2)[:, None]
        passed = (twice * information * (modes[first].conj() * modes[second]).real).sum(axis=0)
        square = square + _by_shell(passed[None], shell)[0]
    along, square = (uniform_filter1d(each, SHELLS) for each in (along, square))
    found: np.ndarray = np.clip(along / np.maximum(square, 1e-30), 0, 1)
    return found


def _by_shell(values: Float[np.ndarray, "rows points"], shell: np.ndarray) -> Float[np.ndarray, "rows shells"]:
    return np.stack([np.bincount(shell, one) for one in values])


def _solved(
    numerator: Complex[np.ndarray, "modes points"],
    weight: Float[np.ndarray, "pairs points"],
    inverse: Float[np.ndarray, "modes points"],
    grid: FourierGrid,
) -> Complex[np.ndarray, "modes points"]:
    """Return the modes of some sums; `inverse` is 1 / t."""
    first, second = np.triu_indices(len(numerator))
    system = np.zeros((grid.size, len(numerator), len(numerator)), np.float32)
    system[:, first, second] = system[:, second, first] = weight.T
    return np.asarray(_steps(jnp.asarray(numerator), jnp.asarray(system), jnp.asarray(inverse, jnp.float32), grid))


@partial(jax.jit, static_argnames="grid")
def _steps(numerator: Array, system: Array, inverse: Array, grid: FourierGrid) -> Array:
    gain = jnp.linalg.inv(system + jax.vmap(jnp.diag)(inverse.T))

    def step(_: Array, modes: Array) -> Array:
        left = numerator - jnp.einsum("pjk,kp->jp", system, modes)
        return grid.confined(modes + jnp.einsum("pjk,kp->jp", gain, left))

    return jax.lax.fori_loop(0, STEPS, step, jnp.zeros_like(numerator))
