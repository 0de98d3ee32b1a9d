"""Volumes of classes from slices: sums over their images, and the volume confined to a ball that explains them best.

    N_k = Σ_i τ_i x_i,   D_k = Σ_i τ_i²      at the nearest points of the grid, half-set by half-set

    V ← M [V + (N - D V) / (D + 1 / t)]      from V = 0, a few times

M takes what lies outside of the ball away, which fills points that no image of a class is near to; t is the power of
the signal by shell, Σ Re N₁ N₂* / Σ D₁ D₂ over all classes. The steps lead to the least squares within the ball; that
they are few keeps down what few images say, as they come last where D t is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, few_sizes, masked

STEPS = 5
LEAST_SIGNAL = 1e-6  # of the strongest shell's
TOGETHER = 64  # volumes solved for at once


@dataclass(frozen=True, eq=False)
class Sums:
    """N and D of classes, and of their half-sets, on the host.

    Parameters
    ----------
    numerator, weight : the sums.
    """

    numerator: Complex[np.ndarray, "classes halves points"]
    weight: Float[np.ndarray, "classes halves points"]

    def take(self, rows: slice | Int[np.ndarray, "rows"]) -> Sums:
        """Return the sums of some classes."""
        return Sums(self.numerator[rows], self.weight[rows])

    def of_pairs(self, first: Int[np.ndarray, "pairs"], second: Int[np.ndarray, "pairs"]) -> Sums:
        """Return the sums of classes joined in pairs."""
        return Sums(self.numerator[first] + self.numerator[second], self.weight[first] + self.weight[second])

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.numerator + other.numerator, self.weight + other.weight)

    def whole(self) -> Sums:
        """Return the sums of both half-sets."""
        return Sums(self.numerator.sum(axis=1, keepdims=True), self.weight.sum(axis=1, keepdims=True))


def places_among(
    label: Int[np.ndarray, "particles"], chosen: Int[np.ndarray, "chosen"]
) -> Int[np.ndarray, "particles"]:
    """Return the place of each particle's label among some, -1 where it is none of them."""
    place = np.full(max(int(label.max(initial=-1)), int(chosen.max(initial=-1))) + 2, -1)
    place[chosen] = np.arange(len(chosen))
    return place[label]


def sums_of(seen: OnGrid, label: Int[np.ndarray, "particles"], classes: int) -> Sums:
    """Return the sums of each class.

    Parameters
    ----------
    seen : slices.
    label : class of each particle, -1 for none.
    classes : how many.
    """
    rows = few_sizes(2 * classes)
    row = np.where(label < 0, rows, 2 * label + seen.half)
    numerator, weight = _summed(seen.point, seen.image, seen.transfer, jnp.asarray(row), rows, seen.grid.size)
    shape = (classes, 2, seen.grid.size)
    return Sums(*(np.asarray(part)[: 2 * classes].reshape(shape) for part in (numerator, weight)))


def class_sums_of(seen: OnGrid, label: Int[np.ndarray, "particles"], classes: int) -> Sums:
    """Return the sums of each class, of both half-sets together; arguments as of `sums_of`.

    Particles are as many as one of few numbers, for which programs are compiled, the others of no class.
    """
    rows, power = few_sizes(classes), 1 << max(len(label) - 1, 1).bit_length()
    missing = (3 * power // 4 if len(label) <= 3 * power // 4 else power) - len(label)
    padded = (
        np.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1))
        for part in map(np.asarray, (seen.point, seen.image, seen.transfer))
    )
    row = np.pad(np.where(label < 0, rows, label), (0, missing), constant_values=rows)
    numerator, weight = _summed(*padded, row, rows, seen.grid.size)
    return Sums(*(np.asarray(part)[:classes, None] for part in (numerator, weight)))


@partial(jax.jit, static_argnums=(4, 5))
def _summed(point: Array, image: Array, transfer: Array, row: Array, rows: int, size: int) -> tuple[Array, Array]:
    at = (row[:, None], point)
    numerator = jnp.zeros((rows, size), jnp.complex64).at[at].add(transfer * image, mode="drop")
    return numerator, jnp.zeros((rows, size), jnp.float32).at[at].add(transfer**2, mode="drop")


def signal_power(sums: Sums, grid: FourierGrid) -> Float[np.ndarray, "points"]:
    """Return t at each point."""
    shell = np.rint(grid.radius).astype(np.int64)
    first, second = sums.numerator[:, 0], sums.numerator[:, 1]
    cross = (first.real * second.real + first.imag * second.imag).sum(axis=0, dtype=np.float64)
    both = (sums.weight[:, 0] * sums.weight[:, 1]).sum(axis=0, dtype=np.float64)
    power = np.bincount(shell, cross) / np.maximum(np.bincount(shell, both), 1e-30)
    return np.maximum(power, LEAST_SIGNAL * max(power.max(), 1e-30))[shell].astype(np.float32)


def solved(
    sums: Sums, grid: FourierGrid, signal: Float[np.ndarray, "points"]
) -> Complex[np.ndarray, "classes halves points"]:
    """Return the volumes of sums, on the host."""
    numerator, weight = sums.numerator.reshape(-1, grid.size), sums.weight.reshape(-1, grid.size)
    mask = jnp.asarray(grid.mask)
    inverse, volumes = jnp.asarray(1 / signal), np.empty_like(numerator)
    together = min(few_sizes(len(numerator)), TOGETHER)
    for start in range(0, len(numerator), together):
        rows = slice(start, start + together)
        missing = ((0, together - len(numerator[rows])), (0, 0))
        found = _solved(np.pad(numerator[rows], missing), np.pad(weight[rows], missing), inverse, mask, grid.reach)
        volumes[rows] = np.asarray(found)[: together - missing[0][1]]
    return volumes.reshape(sums.numerator.shape)


@partial(jax.jit, static_argnames="reach")
def _solved(numerator: Array, weight: Array, inverse: Array, mask: Array, reach: int) -> Array:
    gain = 1 / (weight + inverse)

    def step(_: Array, volumes: Array) -> Array:
        return masked(volumes + gain * (numerator - weight * volumes), mask, reach)

    return jax.lax.fori_loop(0, STEPS, step, jnp.zeros_like(numerator))


def class_volumes(
    seen: OnGrid, label: Int[np.ndarray, "particles"], classes: int
) -> Complex[np.ndarray, "classes points"]:
    """Return the volume of each class, of both half-sets together."""
    return volumes_of(sums_of(seen, label, classes), seen.grid)


def volumes_of(sums: Sums, grid: FourierGrid) -> Complex[np.ndarray, "classes points"]:
    """Return the volumes of sums, of both half-sets together."""
    return solved(sums.whole(), grid, signal_power(sums, grid))[:, 0]
