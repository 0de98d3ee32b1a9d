"""A mixture of Gaussians of one shape, seen through each particle's own error, fitted by expectation maximisation.

A particle of component k is at t ~ N(m_k, s_k V), V = diag(v) the shape that all share, s_k a scale of the component's
own; it is seen at x = t + error, error ~ N(0, D) with D the diagonal covariance of the particle's group. So

    p(x) = Σ_k w_k N(x; m_k, s_k V + D)

Both steps are products of matrices: particles are grouped by their error, and within a group the exponent is linear in
(x², x). Coordinates should be of order one and centred.

References
----------
Bovy, Hogg & Roweis, Ann. Appl. Stat. 5 (2011) 1657, for the step that maximises under known errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LARGEST_BLOCK = 4_000_000  # particles × components whose probabilities are in memory at once
PRIOR_PARTICLES = 5.0  # by how many particles a scale is drawn towards 1
SCALES = (0.04, 25.0)  # limits of s_k
LEAST_VARIANCE = 1e-5  # of the shape, of coordinates whose variance is of order one
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Seen:
    """Particles as the mixture sees them, sorted by group.

    Parameters
    ----------
    points : coordinates.
    weight : how much each counts, from 0.
    start : where each group begins, and the end.
    error : variance of the error, of each group.
    """

    points: Float[np.ndarray, "particles columns"]
    weight: Float[np.ndarray, "particles"]
    start: Int[np.ndarray, "edges"]
    error: Float[np.ndarray, "groups columns"]

    def blocks(self, components: int) -> Iterator[tuple[int, slice]]:
        """Yield group and rows of blocks that are small enough."""
        rows = max(1, LARGEST_BLOCK // max(components, 1))
        for group in range(len(self.error)):
            for first in range(self.start[group], self.start[group + 1], rows):
                yield group, slice(first, min(first + rows, self.start[group + 1]))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights, means, scales of the components and their common shape.

    Parameters
    ----------
    weight : w, sums to 1.
    mean : m.
    scale : s.
    shape : v, variance along each coordinate.
    """

    weight: Float[np.ndarray, "components"]
    mean: Float[np.ndarray, "components columns"]
    scale: Float[np.ndarray, "components"]
    shape: Float[np.ndarray, "columns"]

    def log_joint(
        self, points: Float[np.ndarray, "particles columns"], error: Float[np.ndarray, "columns"]
    ) -> Float[np.ndarray, "particles components"]:
        """Return log w_k N(x; m_k, s_k V + D) of particles of one error, float32.

        Parameters
        ----------
        points : coordinates.
        error : D, variance.
        """
        variance = self.scale[:, None] * self.shape + error
        constant = np.log(np.maximum(self.weight, TINY)) - 0.5 * (
            np.log(2 * np.pi * variance) + self.mean**2 / variance
        ).sum(axis=1)
        factors = np.concatenate([-0.5 / variance, self.mean / variance], axis=1).T.astype(np.float32)
        rows = np.asarray(points, np.float32)
        joint: np.ndarray = np.concatenate([rows**2, rows], axis=1) @ factors
        joint += constant.astype(np.float32)
        return joint


def start_mixture(seen: Seen, member: Int[np.ndarray, "particles"], components: int) -> Mixture:
    """Return the mixture of which each particle is in the component named.

    Parameters
    ----------
    seen : particles.
    member : component of each, 0 … components - 1.
    components : how many.
    """
    total = np.bincount(member, seen.weight, components)
    kept = np.maximum(total, 1e-9)[:, None]
    mean = np.stack([np.bincount(member, seen.weight * c, components) for c in seen.points.T], axis=1) / kept
    mean_error = np.diff(seen.start) @ seen.error / max(len(seen.points), 1)
    spread = (seen.weight[:, None] * (seen.points - mean[member]) ** 2).sum(axis=0) / max(seen.weight.sum(), 1e-9)
    shape = np.maximum(spread - mean_error, np.maximum(0.1 * spread, LEAST_VARIANCE))
    return Mixture(total / total.sum(), mean, np.ones(components), shape)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one pass: log-likelihood, and for each component its particles, means, and squares."""

    likelihood: float
    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray


def _pass(seen: Seen, mixture: Mixture) -> _Sums:
    """Sum what maximises the likelihood under the probabilities of `mixture`."""
    components, columns = mixture.mean.shape
    count = np.zeros((len(seen.error), components))
    first, second = np.zeros((2, len(seen.error), components, columns))
    likelihood = 0.0
    for group, rows in seen.blocks(components):
        points = seen.points[rows]
        weight = seen.weight[rows].astype(np.float32)
        probability, evidence = normalised(mixture.log_joint(points, seen.error[group]))
        likelihood += float(weight @ evidence)
        probability *= weight[:, None]
        count[group] += probability.sum(axis=0, dtype=np.float64)
        both = probability.T @ np.concatenate([points, points**2], axis=1).astype(np.float32)
        first[group] += both[:, :columns]
        second[group] += both[:, columns:]
    variance = mixture.scale[:, None] * mixture.shape
    gain = variance / (variance + seen.error[:, None, :])
    each = count[:, :, None]
    total = np.maximum(count.sum(axis=0), TINY)[:, None]
    mean = ((1 - gain) * mixture.mean * each + gain * first).sum(axis=0) / total
    offset = (1 - gain) * mixture.mean - mean
    square = gain**2 * second + 2 * gain * offset * first + (offset**2 + gain * seen.error[:, None, :]) * each
    return _Sums(likelihood, count.sum(axis=0), mean, np.maximum(square.sum(axis=0), 0))


def normalised(
    joint: Float[np.ndarray, "particles components"],
) -> tuple[Float[np.ndarray, "particles components"], Float[np.ndarray, "particles"]]:
    """Return probabilities, in the place of `joint`, and the logarithm of its sum over components."""
    highest = joint.max(axis=1)
    joint -= highest[:, None]
    np.exp(joint, out=joint)
    total = joint.sum(axis=1)
    joint /= total[:, None]
    return joint, highest + np.log(total)


def _maximised(sums: _Sums, mixture: Mixture) -> Mixture:
    """Return the mixture that the sums ask for."""
    columns = len(mixture.shape)
    total = max(float(sums.count.sum()), TINY)
    shape = np.maximum((sums.square / mixture.scale[:, None]).sum(axis=0) / total, LEAST_VARIANCE)
    prior = PRIOR_PARTICLES * columns
    scale = ((sums.square / shape).sum(axis=1) + prior) / (sums.count * columns + prior)
    typical = np.exp(sums.count @ np.log(scale) / total)
    scale = np.clip(scale / typical, *SCALES)
    empty = sums.count < 1e-6
    mean = np.where(empty[:, None], mixture.mean, sums.mean)
    return Mixture(sums.count / total, mean, scale, np.maximum(shape * typical, LEAST_VARIANCE))


def fit_mixture(seen: Seen, mixture: Mixture, steps: int = 40, tolerance: float = 1e-5) -> tuple[Mixture, float]:
    """Return the mixture after expectation maximisation, and the log-likelihood of the particles.

    Parameters
    ----------
    seen : particles.
    mixture : start.
    steps : at most.
    tolerance : ends when a step gains less, in nats a particle.
    """
    before = -np.inf
    for _ in range(steps):
        sums = _pass(seen, mixture)
        if sums.likelihood - before < tolerance * seen.weight.sum():
            break
        before, mixture = sums.likelihood, _maximised(sums, mixture)
    return mixture, sums.likelihood
