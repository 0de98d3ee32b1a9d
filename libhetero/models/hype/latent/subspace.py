"""A subspace of volumes: a mean and modes, found by probabilistic principal components or spanned by volumes.

    V_i = mean + Σ_j z_ij U_j,      z_i ~ N(0, 1)

Expectation maximisation of images x_i = τ_i S_i V_i + noise has a closed form for z_i, and for the modes one small
system for each point of the grid, because a slice takes the nearest point's value.

References
----------
Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611.
Tagare et al., J. Struct. Biol. 191 (2015) 245: the same for projections of a volume.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int
from scipy.sparse import csr_matrix

from libhetero.cores import in_threads
from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.normal_equations import Equations, normal_equations, symmetric
from libhetero.models.hype.latent.volumes import class_volumes

STEPS = 10
SAMPLE = 8000  # particles that the modes are found from
LEAST = 1e-6  # of the strongest principal component's variance
START = 0.3  # of the mean's typical value: the first modes
PRIOR = 0.5  # of a mode's value at a point: the inverse of its variance
POINTS_TOGETHER = 256  # of the grid, whose systems are solved at once


@dataclass(frozen=True, eq=False)
class Subspace:
    """Mean and modes on a grid.

    Parameters
    ----------
    mean : of the volumes.
    modes : one standard deviation of each, the strongest first.
    """

    mean: Complex[Array, "points"]
    modes: Complex[Array, "points modes"]

    @property
    def table(self) -> Complex[Array, "points columns"]:
        """Mean and modes beside each other."""
        return jnp.concatenate([self.mean[:, None], self.modes], axis=1)


def spanned(
    volumes: Complex[np.ndarray, "volumes points"], weight: Float[np.ndarray, "volumes"], most: int
) -> Subspace:
    """Return the subspace of volumes: their weighted mean and at most `most` principal components."""
    mean, modes, _ = components(volumes, weight, most)
    return Subspace(jnp.asarray(mean), jnp.asarray(modes))


def components(
    volumes: Complex[np.ndarray, "volumes points"], weight: Float[np.ndarray, "volumes"], most: int
) -> tuple[Complex[np.ndarray, "points"], Complex[np.ndarray, "points modes"], Float[np.ndarray, "volumes modes"]]:
    """Return weighted mean and principal components of volumes, and their places, of unit variance, in these.

    Parameters
    ----------
    volumes, weight : of which.
    most : components at most.
    """
    share = (weight / weight.sum()).astype(np.float32)
    mean = share @ volumes
    deviation = (volumes - mean) * np.sqrt(share)[:, None]
    gram = (deviation @ deviation.conj().T).real.astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    kept = np.flatnonzero(values > LEAST * max(values[-1], 1e-30))[::-1][:most]
    chosen = vectors[:, kept].astype(np.float32)
    return mean, deviation.T @ chosen, chosen / np.sqrt(share)[:, None]


def principal_subspace(seen: OnGrid, rank: int, seed: int) -> Subspace:
    """Return the subspace of highest likelihood.

    Parameters
    ----------
    seen : slices.
    rank : number of modes.
    seed : of the particles that modes are found from, and of the modes to begin with.
    """
    rng = np.random.default_rng(seed)
    mean = jnp.asarray(class_volumes(seen, np.zeros(len(seen), np.int64), 1)[0])
    sample = seen if len(seen) <= SAMPLE else seen.take(np.sort(rng.choice(len(seen), SAMPLE, replace=False)))
    noise = rng.normal(size=(rank, len(mean), 2)).astype(np.float32)
    seeable = float(jnp.mean(jnp.sum(seen.transfer**2, axis=1))) ** -0.5  # a mode of one noise deviation in an image
    size = max(START * float(jnp.abs(mean).mean()), seeable)
    modes = seen.grid.confined(jnp.asarray(size * (noise[..., 0] + 1j * noise[..., 1]), jnp.complex64)).T
    subspace = Subspace(mean, modes)
    sums = _PointSums(sample, np.asarray(mean))
    for _ in range(STEPS):
        subspace = _improved(sums, subspace, normal_equations(sample, subspace.table))
    return subspace


def with_residual_modes(
    subspace: Subspace,
    seen: OnGrid,
    label: Int[np.ndarray, "particles"],
    volumes: Complex[np.ndarray, "classes points"],
    rank: int,
    seed: int,
) -> Subspace:
    """Return a subspace with principal modes of what the volumes of the classes leave of the images.

    Parameters
    ----------
    subspace : that the volumes span.
    seen : slices.
    label : class of each particle.
    volumes : of the classes.
    rank : further modes.
    seed : as in `principal_subspace`.
    """
    expected = seen.transfer * jnp.asarray(volumes)[label[:, None], seen.point]
    left = principal_subspace(replace(seen, image=seen.image - expected), rank, seed)
    return Subspace(subspace.mean, jnp.concatenate([subspace.modes, left.modes], axis=1))


class _PointSums:
    """Sums over the pixels that are nearest to each point, as products of sparse matrices.

    Parameters
    ----------
    seen : slices.
    mean : of the volumes, which is taken off the images.
    """

    def __init__(self, seen: OnGrid, mean: np.ndarray) -> None:
        point, transfer = np.asarray(seen.point), np.asarray(seen.transfer)
        residual = np.asarray(seen.image) - transfer * mean[point]
        starts = np.arange(0, point.size + 1, point.shape[1])
        self.grid = seen.grid
        shape = len(point), seen.grid.size
        self._numerator, self._weight = (
            csr_matrix((values.ravel(), point.ravel(), starts), shape=shape).T.tocsr()
            for values in (transfer * residual, transfer**2)
        )

    def of_points(
        self, rows: slice, latent: Float[np.ndarray, "particles rank"], second: Float[np.ndarray, "particles pairs"]
    ) -> tuple[Complex[np.ndarray, "chosen rank"], Float[np.ndarray, "chosen pairs"]]:
        """Return Σ τ (x - τ mean) z and Σ τ² E[z zᵀ] at some points."""
        return self._numerator[rows] @ latent, self._weight[rows] @ second


def _improved(sums: _PointSums, subspace: Subspace, equations: Equations) -> Subspace:
    """Return the subspace after a step of expectation maximisation, its modes scaled so that z has variance 1."""
    latent, second = equations.moments()
    rank = latent.shape[1]
    upper = np.triu_indices(rank)

    def solved(number: int) -> np.ndarray:
        numerator, gram = sums.of_points(
            slice(number * POINTS_TOGETHER, (number + 1) * POINTS_TOGETHER), latent, second
        )
        system = symmetric(gram, rank, upper) + PRIOR * np.eye(rank, dtype=np.float32)
        found = np.linalg.solve(system, np.stack([numerator.real, numerator.imag], axis=2))
        return (found[..., 0] + 1j * found[..., 1]).astype(np.complex64)

    modes = np.concatenate(list(in_threads(solved, -(-sums.grid.size // POINTS_TOGETHER))))
    confined = sums.grid.confined(jnp.asarray(modes.T)).T
    spread = symmetric(second.mean(axis=0, dtype=np.float64)[None], rank, upper)[0]
    return Subspace(subspace.mean, confined @ jnp.asarray(np.linalg.cholesky(spread), jnp.complex64))
