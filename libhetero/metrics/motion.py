"""Decoded against true displacement of Gaussians, and a region's coordinate against the true angle."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr


def displacement_rmsd(
    decoded: Float[np.ndarray, "particles gaussians 3"], truth: Float[np.ndarray, "particles gaussians 3"]
) -> Float[np.ndarray, "particles"]:
    """Return √(mean over Gaussians of |decoded - true displacement|²) of each particle, in Å.

    Parameters
    ----------
    decoded : decoded position minus the Gaussian's position in the neutral model, Å.
    truth : displacement of the Gaussian's closest atom from its place in the same model, Å.
    """
    square = np.sum((np.asarray(decoded, np.float64) - truth) ** 2, axis=-1)
    return np.sqrt(square.mean(axis=-1))


def about_mean(displacement: Float[np.ndarray, "particles gaussians 3"]) -> Float[np.ndarray, "particles gaussians 3"]:
    """Return displacements from each Gaussian's mean over particles.

    For a neutral model that is a consensus of the moving particles, which no true angle places.
    """
    return displacement - displacement.mean(axis=0, keepdims=True)


def rank_correlation(coordinate: Float[np.ndarray, "particles"], angle: Float[np.ndarray, "particles"]) -> float:
    """Return |ρ| of Spearman's rank correlation; 0 where either is constant.

    A coordinate of an embedding has no sign and no unit of its own: only the order can be compared.
    """
    if np.ptp(coordinate) == 0 or np.ptp(angle) == 0:
        return 0.0
    return abs(float(spearmanr(coordinate, angle).statistic))
