"""Changes of low rank in the normal equations of a sample: posteriors, likelihood, and expectation maximisation.

The change of particle i is, in the columns of its normal equations H_i, g_i,

    c_i = mean + B z_i,   z_i ~ N(0, 1),   B = [known | modes]

known directions (nuisances, of which the standard deviation alone is learnt, or fields that are given) and modes,
which are learnt whole. For a particle, with b = Bᵀ(g - H mean) and C = (Bᵀ H B + 1)⁻¹,

    z = C b,   cov z = C,   log p(X) - log p(X | no change) = ½ bᵀ C b + ½ log |C| + meanᵀ g - ½ meanᵀ H mean

Expectation maximisation solves for [modes mean] the linear equations

    Σ_i H_i [known modes mean] E[(z,1) (z_modes,1)ᵀ] + V⁻¹ [modes mean] = Σ_i g_i E[(z_modes,1)]ᵀ

with V the variance that a number of the modes typically has: a patch too faint to be seen does not change.

References
----------
Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.cores import in_threads
from libhetero.models.blocks import added
from libhetero.models.gmm.latent.normal_equations import Equations

BLOCK = 64  # particles of a step of expectation maximisation, a thread each
LOOSE = 100.0  # variance of the mean change of a column before anything is seen: Å², or relative
FARTHEST = 3.0  # times as far as expectation maximisation says, which crawls where particles say little


@dataclass(frozen=True, eq=False)
class LowRank:
    """Which changes a set of particles makes.

    Parameters
    ----------
    known : (P, k), one standard deviation of each known direction.
    modes : (P, r), one standard deviation of each mode.
    mean : (P,), mean change.
    """

    known: np.ndarray
    modes: np.ndarray
    mean: np.ndarray

    @property
    def directions(self) -> Float[np.ndarray, "columns directions"]:
        """B, known directions before modes."""
        return np.concatenate([self.known, self.modes], axis=1)

    @property
    def rank(self) -> int:
        """Number of modes."""
        return self.modes.shape[1]

    def without(self, mode: int) -> LowRank:
        """Return the same without one mode."""
        return replace(self, modes=np.delete(self.modes, mode, axis=1))


@dataclass(frozen=True, eq=False)
class Expected:
    """What particles' posteriors say, particle by particle.

    Parameters
    ----------
    latent : (particles, k + r), z.
    covariance : (particles, k + r, k + r), C.
    seen : (particles, P, k + r), H B.
    rest : (particles, P), g - H mean.
    likelihood : (particles,), above that of no change, nats.
    """

    latent: np.ndarray
    covariance: np.ndarray
    seen: np.ndarray
    rest: np.ndarray
    likelihood: np.ndarray


def expected(equations: Equations, model: LowRank) -> Expected:
    """Return the posterior of every particle."""
    parts = list(_in_blocks(lambda hessian, gradient: _posterior(hessian, gradient, model), equations))
    return Expected(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def missed_without(found: Expected) -> Float[np.ndarray, "directions"]:
    """Return how much log-likelihood is lost without each direction, the others staying as they are, nats.

    ½ z² / C + ½ log C of its number z, summed over particles: what the others do not explain in its place.
    """
    return missed_by(found.latent, found.covariance)


def missed_by(
    latent: Float[np.ndarray, "particles numbers"], covariance: Float[np.ndarray, "particles numbers numbers"]
) -> Float[np.ndarray, "numbers"]:
    """Return how much log-likelihood is lost without each number of a latent, given its posteriors; nats."""
    variance = np.diagonal(covariance, axis1=1, axis2=2).astype(np.float64)
    return 0.5 * np.sum(latent.astype(np.float64) ** 2 / variance + np.log(variance), axis=0)


def log_likelihood(equations: Equations, model: LowRank) -> float:
    """Return the log-likelihood of all particles above that of no change, nats."""
    parts = _in_blocks(lambda hessian, gradient: _posterior(hessian, gradient, model)[-1].sum(), equations)
    return float(sum(parts))


def _posterior(hessian: np.ndarray, gradient: np.ndarray, model: LowRank) -> tuple[np.ndarray, ...]:
    """Return the columns of `Expected` of a block, in float32 but for the likelihood."""
    directions, mean = model.directions.astype(np.float32), model.mean.astype(np.float32)
    seen = hessian @ np.column_stack([directions, mean])
    shifted, seen = seen[:, :, -1], seen[:, :, :-1]
    precision = directions.T @ seen + np.eye(directions.shape[1], dtype=np.float32)
    covariance = np.linalg.inv(precision)
    rest = gradient - shifted
    slope = rest @ directions
    latent = (covariance @ slope[:, :, None])[:, :, 0]
    of_mean = (gradient - 0.5 * shifted).astype(np.float64) @ model.mean
    gain = 0.5 * np.sum(slope * latent, axis=1, dtype=np.float64) - 0.5 * np.linalg.slogdet(precision)[1]
    return latent, covariance, seen, rest, gain + of_mean


def fit_nuisances(equations: Equations, model: LowRank, steps: int) -> LowRank:
    """Return the same with the standard deviations of the known directions, and the mean, fitted.

    Only columns of the known directions move; there must be no modes.
    """
    count = model.known.shape[1]
    of_known = replace(
        equations,
        hessian=equations.hessian[:, :count, :count],
        gradient=equations.gradient[:, :count],
        noise=equations.noise[:, :, :count],
    )
    small = LowRank(model.known[:count], np.zeros((count, 0)), model.mean[:count])
    prior = np.full(count, LOOSE)
    for _ in range(steps):
        small = _maximised(of_known, small, prior, farthest=FARTHEST)
    known, mean = model.known.copy(), model.mean.copy()
    known[:count], mean[:count] = small.known, small.mean
    return LowRank(known, model.modes, mean)


def fit_modes(equations: Equations, model: LowRank, prior: Float[np.ndarray, "columns"], steps: int) -> LowRank:
    """Return modes, mean and nuisances after some steps of expectation maximisation.

    Parameters
    ----------
    model : to start from.
    prior : V, one variance for each row of the modes.
    steps : of expectation and maximisation.
    """
    for _ in range(steps):
        model = _maximised(equations, model, prior)
    return model


def _maximised(equations: Equations, model: LowRank, prior: np.ndarray, farthest: float = 1.0) -> LowRank:
    """Return one step of expectation maximisation.

    The logarithms of the nuisances' deviations move up to `farthest` times as far as it says: as many times as
    particles on average say of a nuisance, 1 - C, goes into 1.
    """
    count, rank, size = model.known.shape[1], model.rank, equations.columns

    def sums(hessian: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return Σ w wᵀ ⊗ H, Σ w (g - H known z)ᵀ, Σ w wᵀ with w = (z_modes, 1), and Σ z², Σ C of known ones."""
        latent, covariance, seen, _, _ = _posterior(hessian, gradient, model)
        second = covariance + latent[:, :, None] * latent[:, None]
        joined = np.concatenate([latent[:, count:], np.ones((len(latent), 1), np.float32)], axis=1)
        own = joined[:, :, None] * joined[:, None]
        own[:, :rank, :rank] = second[:, count:, count:]
        cross = np.concatenate([second[:, :count, count:], latent[:, :count, None]], axis=2)
        left = own.reshape(len(own), -1).T @ hessian.reshape(len(hessian), -1)
        taken = np.tensordot(cross, seen[:, :, :count], axes=([0, 1], [0, 2]))
        squares, spread = (np.einsum("ikk->k", part[:, :count, :count]) for part in (second, covariance))
        return left, joined.T @ gradient - taken, own.sum(axis=0), squares, spread

    left, right, second, squares, spread = _summed(sums, equations)
    square = left.reshape(rank + 1, rank + 1, size, size).transpose(0, 2, 1, 3).reshape((rank + 1) * size, -1)
    inverse = np.concatenate([np.tile(1 / np.maximum(prior, 1e-12), rank), np.full(size, 1 / LOOSE)])
    square[np.diag_indices(len(square))] += inverse
    solved = np.linalg.solve(square, right.ravel()).reshape(rank + 1, size)
    particles = len(equations.gradient)
    second /= particles
    centre = second[:rank, rank]
    root = np.linalg.cholesky(second[:rank, :rank] - np.outer(centre, centre)) if rank else np.zeros((0, 0))
    modes, mean = solved[:rank].T @ root, solved[rank] + solved[:rank].T @ centre
    said = np.maximum(1 - spread / particles, 1e-6)
    factor = np.sqrt(np.maximum(squares / particles, 1e-12)) ** np.clip(1 / said, 1, farthest)
    given = slice(equations.nuisances, equations.nuisances + equations.fields)
    factor[given] = 1  # one unit of a field is given
    return LowRank(model.known * factor, modes, mean)


def _in_blocks(work: Callable[[np.ndarray, np.ndarray], Any], equations: Equations) -> Iterator[Any]:
    """Yield what is found of each block of particles, a thread a core."""
    blocks = list(_blocks(equations))
    return in_threads(lambda one: work(equations.hessian[blocks[one]], equations.gradient[blocks[one]]), len(blocks))


def _summed(work: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]], equations: Equations) -> list[np.ndarray]:
    """Return sums over all blocks, float64."""
    return added(_in_blocks(work, equations))


def _blocks(equations: Equations) -> Iterator[slice | Int[np.ndarray, "rows"]]:
    for start in range(0, len(equations.gradient), BLOCK):
        yield slice(start, start + BLOCK)
