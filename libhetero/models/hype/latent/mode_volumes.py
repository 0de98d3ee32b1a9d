"""Modes of molecules that change on all rings, where the weights of images are known from low ones.

What the volume of a molecule leaves of its images is regressed on their weights ŵ (`residuals`), point by point:

    N_j = Σ_i ŵ_ij τ_i (x_i - τ_i V),     D_jl = Σ_i ŵ_ij ŵ_il τ_i²      at the nearest points of the grid, half by half

    U ← M [U + (D + 1 / t)⁻¹ (N - D U)]      from U = 0, a few times

M takes what lies outside of the ball away; t_j is the power of a mode by shell, Σ Re N_j1 N_j2* / Σ D_jj1 D_jj2, so
that a mode has none on rings where half-sets do not agree. As ŵ is the mean of what is uncertain, V + U ŵ is the volume
that is to be expected. On rings above those that ŵ was found on, an image's noise is not in its ŵ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.models.hype.latent.grid import FourierGrid, OnGrid

STEPS = 5
LEAST_SIGNAL = 1e-6  # of the strongest shell's of a mode
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
    volumes: Complex[np.ndarray, "molecules points"],
) -> ModeSums:
    """Return the sums of some particles.

    Parameters
    ----------
    seen : slices, the contrast of each particle in its transfer.
    owner : molecule of each particle, -1 for none of these.
    weights : ŵ of it in the modes of that molecule.
    volumes : V of the molecules.
    """
    row = np.where(owner < 0, 2 * len(volumes), 2 * owner + seen.half)
    parts = (seen.point, seen.image, seen.transfer, row, np.maximum(owner, 0), weights.astype(np.float32), volumes)
    numerator, weight = _summed(*map(jnp.asarray, parts))
    shape = (-1, 2, volumes.shape[1])
    found = []
    for sums in (numerator, weight):
        found.append(np.stack([np.asarray(one).reshape(shape) for one in sums], axis=2))
    return ModeSums(*found)


@jax.jit
def _summed(
    point: Array, image: Array, transfer: Array, row: Array, owner: Array, weights: Array, volumes: Array
) -> tuple[list[Array], list[Array]]:
    left = image - transfer * volumes[owner[:, None], point]
    at, shape = (row[:, None], point), (2 * len(volumes), volumes.shape[1])
    first, second = np.triu_indices(weights.shape[1])

    def added(values: Array) -> Array:
        total: Array = jnp.zeros(shape, values.dtype).at[at].add(values, mode="drop")
        return total

    numerator = [added(weight[:, None] * transfer * left) for weight in weights.T]
    return numerator, [
        added((weights[:, j] * weights[:, k])[:, None] * transfer**2) for j, k in zip(first, second, strict=True)
    ]


def mode_volumes(sums: ModeSums, grid: FourierGrid) -> Complex[np.ndarray, "molecules points modes"]:
    """Return the modes of sums.

    Parameters
    ----------
    sums : of all particles.
    grid : that they are on.
    """
    shell, modes = np.rint(grid.radius).astype(np.int64), sums.numerator.shape[2]
    first, second = np.triu_indices(modes)
    own = np.flatnonzero(first == second)
    found = np.empty((len(sums.numerator), grid.size, modes), np.complex64)
    for place, (numerator, weight) in enumerate(zip(sums.numerator, sums.weight, strict=True)):
        cross = (numerator[0].conj() * numerator[1]).real.astype(np.float64)
        both = (weight[0][own] * weight[1][own]).astype(np.float64)
        shells = zip(cross, both, strict=True)
        power = np.stack([np.bincount(shell, a) / np.maximum(np.bincount(shell, b), 1e-30) for a, b in shells])
        power = np.maximum(power, LEAST_SIGNAL * np.maximum(power.max(axis=1, keepdims=True), 1e-30))
        system = np.zeros((grid.size, modes, modes), np.float32)
        system[:, first, second] = system[:, second, first] = weight.sum(axis=0).T
        whole = jnp.asarray(numerator.sum(axis=0))
        inverse = jnp.asarray(1 / power[:, shell], jnp.float32)
        found[place] = np.asarray(_solved(whole, jnp.asarray(system), inverse, grid)).T
    return found


@partial(jax.jit, static_argnames="grid")
def _solved(numerator: Array, system: Array, inverse: Array, grid: FourierGrid) -> Array:
    gain = jnp.linalg.inv(system + jax.vmap(jnp.diag)(inverse.T))

    def step(_: Array, modes: Array) -> Array:
        left = numerator - jnp.einsum("pjk,kp->jp", system, modes)
        return grid.confined(modes + jnp.einsum("pjk,kp->jp", gain, left))

    return jax.lax.fori_loop(0, STEPS, step, jnp.zeros_like(numerator))
