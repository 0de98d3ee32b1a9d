"""Is each Gaussian, in each particle, there or not?

Each Gaussian belongs to the closest atom of the true model, and is truly present in a particle when
the piece of that atom is. It is found present when its relative amplitude, decoded amplitude ÷
reference amplitude of that Gaussian, is at least 0.5. Two references:

- "neutral": the amplitude in the neutral model. Right when that model is the complete complex.
- "percentile": the 95th percentile over particles of the decoded amplitude, which needs no truth.
  Right also when the neutral model is a consensus, where an optional piece stands at half density.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy.spatial import cKDTree

PRESENT = 0.5
PERCENTILE = 95.0


def closest_atoms(
    position: Float[np.ndarray, "gaussians 3"], atoms: Float[np.ndarray, "atoms 3"]
) -> tuple[Int[np.ndarray, "gaussians"], Float[np.ndarray, "gaussians"]]:
    """Return the index of the closest atom to each Gaussian, and its distance in Å.

    Parameters
    ----------
    position, atoms : Å, (x, y, z) from the box centre.
    """
    distance, index = cKDTree(np.asarray(atoms, np.float64)).query(np.asarray(position, np.float64))
    return index, distance


def percentile_reference(amplitude: Float[np.ndarray, "particles gaussians"]) -> Float[np.ndarray, "gaussians"]:
    """Return the 95th percentile over particles of each Gaussian's decoded amplitude."""
    return np.percentile(amplitude, PERCENTILE, axis=0).astype(np.float32)


def relative_amplitude(
    amplitude: Float[np.ndarray, "particles gaussians"], reference: Float[np.ndarray, "gaussians"]
) -> Float[np.ndarray, "particles gaussians"]:
    """Return amplitude ÷ reference; 0 where the reference is not positive."""
    positive = reference > 0
    return np.where(positive, amplitude / np.where(positive, reference, 1), 0)


def found_present(
    amplitude: Float[np.ndarray, "particles gaussians"], reference: Float[np.ndarray, "gaussians"]
) -> Bool[np.ndarray, "particles gaussians"]:
    """Return where amplitude ÷ reference ≥ 0.5; never where the reference is not positive."""
    return (amplitude >= PRESENT * reference) & (reference > 0)


def amplitude_accuracy(
    amplitude: Float[np.ndarray, "particles gaussians"],
    reference: Float[np.ndarray, "gaussians"],
    piece: Int[np.ndarray, "gaussians"],
    states: Integer[np.ndarray, "particles pieces"],
) -> dict[str, float]:
    """Return how often Gaussians are rightly called present or absent.

    Parameters
    ----------
    amplitude : decoded, linear in projected density.
    reference : each Gaussian's amplitude when present.
    piece : the piece of each Gaussian's closest atom.
    states : 1 where a piece is in a particle; a column of ones is a core that never leaves.

    Returns
    -------
    "all": over all Gaussians and particles; "optional": over the Gaussians of pieces that are
    sometimes absent; "always_present": what calling everything present would score over all.
    """
    truth = np.asarray(states, bool)[:, piece]
    right = found_present(amplitude, reference) == truth
    optional = ~np.asarray(np.all(states, axis=0))[piece]
    return {
        "all": float(right.mean()),
        "optional": float(right[:, optional].mean()) if optional.any() else float("nan"),
        "always_present": float(truth.mean()),
    }
