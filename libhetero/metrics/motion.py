"""Decoded against true displacement of Gaussians."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def displacement_rmsd(
    decoded: Float[np.ndarray, "particles gaussians 3"],
    truth: Float[np.ndarray, "particles gaussians 3"],
) -> Float[np.ndarray, "particles"]:
    """Return √(mean over Gaussians of |decoded - true displacement|²) of each particle, in Å.

    Parameters
    ----------
    decoded : decoded position minus the Gaussian's position in the neutral model, Å.
    truth : displacement of the Gaussian's closest atom from its place in the same model, Å.
    """
    square = np.sum((np.asarray(decoded, np.float64) - truth) ** 2, axis=-1)
    return np.sqrt(square.mean(axis=-1))


def about_mean(
    displacement: Float[np.ndarray, "particles gaussians 3"],
) -> Float[np.ndarray, "particles gaussians 3"]:
    """Return displacements from each Gaussian's mean over particles.

    For a neutral model that is a consensus of the moving particles, which no true angle places.
    """
    return displacement - displacement.mean(axis=0, keepdims=True)
