"""Particles as points with errors: whitened, grouped by error, seen along the directions that tell classes apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.mixture import LEAST_VARIANCE, Seen

QUALITIES = 8  # groups of particles of like error
SAME_ERROR = 0.05  # relative spread of errors below which they are one
FAINTEST = 1e-9  # variance of a direction, over the largest, below which it is none


@dataclass(frozen=True, eq=False)
class Whitening:
    """From a latent to coordinates of variance 1, and from its error to one of few qualities.

    Parameters
    ----------
    mean : of the latents.
    matrix : A, whitened = (latent - mean) A.
    quality : centres of the groups, as logarithms of the errors' variance.
    error : mean variance of the error of each group, in the latents' own coordinates.
    """

    mean: Float[np.ndarray, "numbers"]
    matrix: Float[np.ndarray, "numbers columns"]
    quality: Float[np.ndarray, "groups numbers"]
    error: Float[np.ndarray, "groups numbers"]

    def points(self, latent: Float[np.ndarray, "particles numbers"]) -> Float[np.ndarray, "particles columns"]:
        """Return whitened points."""
        return (np.asarray(latent, np.float64) - self.mean) @ self.matrix

    def group(
        self, deviation: Float[np.ndarray, "particles numbers"] | None, count: int
    ) -> Int[np.ndarray, "particles"]:
        """Return the quality of each of `count` particles: the group of the nearest error."""
        if deviation is None or len(self.quality) == 1:
            return np.zeros(count, int)
        from scipy.spatial.distance import cdist

        return cdist(_log_variance(deviation), self.quality).argmin(axis=1)


@dataclass(frozen=True, eq=False)
class Measured:
    """Whitened particles, sorted by the quality of their measurement.

    Parameters
    ----------
    points : whitened, of variance 1.
    weight : how much each counts.
    start : where each group begins, and the end.
    whitening : what whitened them.
    """

    points: Float[np.ndarray, "particles columns"]
    weight: Float[np.ndarray, "particles"]
    start: Int[np.ndarray, "edges"]
    whitening: Whitening

    def along(self, directions: Float[np.ndarray, "columns kept"]) -> Seen:
        """Return the particles along orthonormal directions; errors that are correlated there are taken as not."""
        error = self.whitening.error @ np.square(self.whitening.matrix @ directions)
        return Seen((self.points @ directions).astype(np.float32), self.weight, self.start, error)


def _log_variance(deviation: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.square(np.asarray(deviation, np.float64)), 1e-30))


def measured_particles(
    latent: Float[np.ndarray, "particles numbers"],
    deviation: Float[np.ndarray, "particles numbers"] | None,
    weight: Float[np.ndarray, "particles"],
    seed: int,
) -> tuple[Measured, Int[np.ndarray, "particles"]] | None:
    """Return the particles whitened and sorted, and which is where; None if they are all the same.

    Parameters
    ----------
    latent : of each particle.
    deviation : standard deviation of the error of each number; None where nobody knows.
    weight : above 0.
    seed : of the grouping by error.
    """
    latent = np.asarray(latent, np.float64)
    mean = np.average(latent, axis=0, weights=weight)
    centred = latent - mean
    variance, axes = np.linalg.eigh((centred * weight[:, None]).T @ centred / weight.sum())
    kept = np.flatnonzero(variance > max(FAINTEST * variance.max(initial=0), 1e-30))[::-1]
    if not len(kept):
        return None
    quality, error = _qualities(deviation, latent.shape[1], seed)
    whitening = Whitening(mean, axes[:, kept] / np.sqrt(variance[kept]), quality, error)
    group = whitening.group(deviation, len(latent))
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], np.arange(len(error) + 1))
    return Measured(whitening.points(latent[order]), weight[order], start, whitening), order


def _qualities(deviation: np.ndarray | None, numbers: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return centres of groups of like errors (log variance), and the mean variance of each group."""
    if deviation is None:
        return np.zeros((1, numbers)), np.zeros((1, numbers))
    logarithm = _log_variance(deviation)
    variance = np.square(np.asarray(deviation, np.float64))
    if logarithm.std(axis=0).max() < SAME_ERROR or len(deviation) < 10 * QUALITIES:
        return logarithm.mean(axis=0, keepdims=True), variance.mean(axis=0, keepdims=True)
    from sklearn.cluster import KMeans

    several = min(QUALITIES, len(np.unique(logarithm, axis=0)))
    found = KMeans(several, n_init=1, random_state=seed).fit(logarithm)
    used = np.unique(found.labels_)
    return found.cluster_centers_[used], np.stack([variance[found.labels_ == one].mean(axis=0) for one in used])


def discriminants(
    measured: Measured, member: Int[np.ndarray, "particles"], components: int, least: int = 0
) -> Float[np.ndarray, "columns kept"]:
    """Return the orthonormal directions along which components differ, those that differ most first.

    With w the share of a direction's variance that is within components, telling its means apart gains
    -n/2 log w in likelihood and costs one number a component: kept where -n log w > components · log n.

    Parameters
    ----------
    measured : particles.
    member : component of each.
    components : how many.
    least : directions kept at least.
    """
    weight = measured.weight
    total = np.bincount(member, weight, components)
    sums = np.stack([np.bincount(member, weight * column, components) for column in measured.points.T], axis=1)
    mean = sums / np.maximum(total, 1e-9)[:, None]
    count = total.sum()
    between = (mean * total[:, None]).T @ mean / count
    differing, axes = np.linalg.eigh(between)
    within = np.maximum(1 - differing, LEAST_VARIANCE)
    kept = max(int((-count * np.log(within) > components * np.log(count)).sum()), min(least, len(within)))
    return axes[:, ::-1][:, :kept]
