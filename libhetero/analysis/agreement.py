"""How far two models say the same of the same particles: what one latent foretells of the other.

Coordinates of a latent have no names and no units, so they are compared up to a linear map, which is learnt on some
particles and judged on others (cross-validation): unrelated latents then give 0 on average, however wide they are.

    canonical correlations   pairs of directions, one of each latent, that agree most, the best first
    predicted variance       R² = 1 - Σ |z₂ - B z₁|² / Σ |z₂ - mean|², B by ridge regression

A linear map cannot follow a latent that another one has bent; who is near to whom is then still the same:

    shared neighbours        part of a particle's k nearest in one latent that are among its k nearest in the other

References
----------
Hotelling, Biometrika 28 (1936) 321 (canonical correlations).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

FOLDS = 5
RIDGE = 1e-3  # of the mean variance of a coordinate
DRAWS = 19  # of latents dealt out anew: chance exceeds them all one time in twenty
PARTICLES_A_COLUMN = 10  # fewest particles for each number of a latent that is compared


def canonical_correlations(
    first: Float[np.ndarray, "particles columns"], second: Float[np.ndarray, "particles others"], seed: int = 0
) -> Float[np.ndarray, "pairs"]:
    """Return the correlations of the pairs of canonical directions, on particles that did not choose these.

    Parameters
    ----------
    first, second : latents of the same particles. Of wide ones the leading principal components are compared, as
        many as there are particles to tell them by.
    seed : of the folds.

    Returns
    -------
    as many as the narrower latent has numbers that vary, mean over the folds.
    """
    first, second = _leading(first), _leading(second)
    pairs = min(first.shape[1], second.shape[1])
    found = []
    for held in _folds(len(first), seed):
        one, other = first - first[~held].mean(axis=0), second - second[~held].mean(axis=0)
        left, right = _whitening(one[~held]), _whitening(other[~held])
        cross = (one[~held] @ left).T @ (other[~held] @ right)
        u, _, vt = np.linalg.svd(cross, full_matrices=False)
        seen, told = one[held] @ left @ u[:, :pairs], other[held] @ right @ vt[:pairs].T
        found.append(_correlations(seen, told))
    return np.mean(found, axis=0) if pairs else np.zeros(0)


def predicted_variance(
    first: Float[np.ndarray, "particles columns"], second: Float[np.ndarray, "particles others"], seed: int = 0
) -> float:
    """Return R² of the second latent as the first one predicts it, on particles that the map was not learnt on.

    Parameters
    ----------
    first, second : as of `canonical_correlations`.
    seed : of the folds.
    """
    first, second = _leading(first), _leading(second)
    if not (first.shape[1] and second.shape[1]):
        return 0.0
    missed = total = 0.0
    for held in _folds(len(first), seed):
        start, aim = first[~held].mean(axis=0), second[~held].mean(axis=0)
        here = first[~held] - start
        square = here.T @ here
        square[np.diag_indices(len(square))] += RIDGE * np.trace(square) / len(square)
        slope = np.linalg.solve(square, here.T @ (second[~held] - aim))
        missed += float(np.sum((second[held] - aim - (first[held] - start) @ slope) ** 2))
        total += float(np.sum((second[held] - aim) ** 2))
    return 1 - missed / max(total, 1e-30)


def chance_correlation(
    first: Float[np.ndarray, "particles columns"],
    second: Float[np.ndarray, "particles others"],
    seed: int = 0,
    draws: int = DRAWS,
) -> float:
    """Return what the best canonical correlation of as many particles and numbers stays below where nothing is shared.

    The latents of one are dealt out anew among the particles, `draws` times; the largest correlation of all is
    returned, which chance exceeds once in `draws` + 1 times.

    Parameters
    ----------
    first, second, seed : as of `canonical_correlations`.
    draws : how often.
    """
    random = np.random.default_rng(seed)
    best = [
        canonical_correlations(first, second[random.permutation(len(second))], seed).max(initial=0.0)
        for _ in range(draws)
    ]
    return float(max(best, default=0.0))


def shared_neighbours(
    first: Float[np.ndarray, "particles columns"], second: Float[np.ndarray, "particles others"], count: int = 10
) -> tuple[float, float]:
    """Return the part of the nearest neighbours that two latents share, mean over particles, and what chance gives.

    Parameters
    ----------
    first, second : latents of the same particles; distances are Euclidean in each.
    count : of neighbours; fewer where there are fewer particles.
    """
    from sklearn.neighbors import NearestNeighbors

    others = len(first) - 1
    count = min(count, others)
    if count < 1:
        return 0.0, 0.0
    near = [NearestNeighbors(n_neighbors=count).fit(one).kneighbors(return_distance=False) for one in (first, second)]
    shared = [len(np.intersect1d(one, other)) for one, other in zip(*near, strict=True)]
    return float(np.mean(shared)) / count, count / others


def correlation(first: Float[np.ndarray, "particles"], second: Float[np.ndarray, "particles"]) -> float:
    """Return the correlation of two numbers of the same particles; 0 where either does not vary."""
    return float(_correlations(first[:, None], second[:, None])[0])


def _leading(latent: np.ndarray) -> np.ndarray:
    """Return the principal components of a latent that vary, no more than its particles can tell apart."""
    latent = np.asarray(latent, np.float64)
    centred = latent - latent.mean(axis=0)
    if not centred.size:
        return centred
    values, vectors = np.linalg.eigh(centred.T @ centred)
    most = max(len(latent) // PARTICLES_A_COLUMN, 1)
    kept = np.flatnonzero(values > 1e-10 * max(float(values[-1]), 1e-30))[::-1][:most]
    return centred @ vectors[:, kept]


def _folds(count: int, seed: int) -> Iterator[Bool[np.ndarray, " particles"]]:
    """Yield which particles are held out of each fold."""
    place = np.random.default_rng(seed).permutation(count) % min(FOLDS, count)
    for fold in range(int(place.max()) + 1):
        yield place == fold


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Return the matrix that takes columns to uncorrelated ones of one variance."""
    square = centred.T @ centred
    square[np.diag_indices(len(square))] += RIDGE * np.trace(square) / max(len(square), 1)
    values, vectors = np.linalg.eigh(square)
    return vectors / np.sqrt(np.maximum(values, 1e-30))


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of each column of one with the same column of the other."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    power = np.sum(first**2, axis=0) * np.sum(second**2, axis=0)
    return np.sum(first * second, axis=0) / np.sqrt(np.where(power > 0, power, np.inf))
