"""Regions of Gaussians that change together, against the true pieces of the complex."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

RECOVERED = 0.5
NOISE = -1


def region_overlap(
    region: Int[np.ndarray, "gaussians"], piece: Int[np.ndarray, "gaussians"], pieces: int
) -> Float[np.ndarray, "pieces regions"]:
    """Return |R ∩ P| / |R ∪ P| of every piece and region, as sets of Gaussians.

    Regions are numbered from 0 in the order of their labels; label -1 (noise) is no region.
    """
    names = np.unique(region[region != NOISE])
    overlap = np.zeros((pieces, len(names)))
    for row in range(pieces):
        for column, name in enumerate(names):
            inside, found = piece == row, region == name
            union = np.count_nonzero(inside | found)
            overlap[row, column] = np.count_nonzero(inside & found) / union if union else 0.0
    return overlap


def region_agreement(
    region: Int[np.ndarray, "gaussians"],
    piece: Int[np.ndarray, "gaussians"],
    optional: Int[np.ndarray, "pieces"],
) -> dict[str, float | int | list[float]]:
    """Return how well regions match the pieces.

    A piece is recovered when one region, matched to it alone, overlaps it with IoU ≥ 0.5; the
    matching (Hungarian) recovers as many pieces as it can, then has the largest overlaps.

    Parameters
    ----------
    region : label of each Gaussian; -1 is noise, which counts as one group in the ARI.
    piece : piece of each Gaussian's closest atom.
    optional : (pieces,), 1 for the pieces that are counted, 0 for a core that never changes.

    Returns
    -------
    "ari"; "recovered" and "pieces", counts over optional pieces; "regions", count; "iou", the best
    matched overlap of each piece (optional or not).
    """
    optional = np.asarray(optional, bool)
    overlap = region_overlap(region, piece, len(optional))
    best = np.zeros(len(optional))
    recovered_first = (overlap >= RECOVERED) + 1e-3 * overlap
    rows, columns = linear_sum_assignment(recovered_first, maximize=True)
    best[rows] = overlap[rows, columns]
    return {
        "ari": float(adjusted_rand_score(piece, region)),
        "recovered": int(np.count_nonzero(best[optional] >= RECOVERED)),
        "pieces": int(np.count_nonzero(optional)),
        "regions": overlap.shape[1],
        "iou": [float(value) for value in best],
    }
