"""Regions of Gaussians that change together, against the true pieces of the complex."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
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


def match_regions(overlap: Float[np.ndarray, "pieces regions"]) -> Int[np.ndarray, "pieces"]:
    """Return the region matched to each piece, one to one, and -1 where none overlaps it.

    The matching (Hungarian) recovers as many pieces as it can, IoU ≥ 0.5, then has the largest overlaps.
    """
    match = np.full(len(overlap), NOISE)
    rows, columns = linear_sum_assignment((overlap >= RECOVERED) + 1e-3 * overlap, maximize=True)
    found = overlap[rows, columns] > 0
    match[rows[found]] = columns[found]
    return match


def matched_regions(
    label: Int[np.ndarray, "gaussians"], other: Int[np.ndarray, "gaussians"]
) -> tuple[Int[np.ndarray, "regions"], Float[np.ndarray, "regions"]]:
    """Return, of each region 1, 2 …, the region of another labelling that is matched to it, and their IoU.

    The region is -1, and its IoU 0, where there is none; the core (0) and Gaussians in no region (-1) are matched to
    nothing.

    Parameters
    ----------
    label, other : region of each Gaussian.
    """
    count = int(max(label.max(initial=0), 0))
    names = np.unique(other[other > 0])
    match, iou = np.full(count, NOISE), np.zeros(count)
    if count and len(names):
        overlap = region_overlap(np.where(other > 0, other, NOISE), np.where(label > 0, label - 1, count), count)
        column = match_regions(overlap)
        found = np.flatnonzero(column != NOISE)
        match[found], iou[found] = names[column[found]], overlap[found, column[found]]
    return match, iou


def region_agreement(
    region: Int[np.ndarray, "gaussians"],
    piece: Int[np.ndarray, "gaussians"],
    optional: Bool[np.ndarray, "pieces"] | Int[np.ndarray, "pieces"],
    constant: int | None = None,
) -> dict[str, float | int | list[float] | list[int]]:
    """Return how well regions match the pieces.

    A piece is recovered when one region, matched to it alone by `match_regions`, overlaps it with
    IoU ≥ 0.5.

    Parameters
    ----------
    region : label of each Gaussian; -1 is noise, which counts as one group in the ARI.
    piece : piece of each Gaussian's closest atom.
    optional : True, or 1, for the pieces that are counted, not for a core that never changes.
    constant : label of the region that does not change: a group in the ARI, against all that is not optional, and
        matched to no optional piece; None where every region changes.

    Returns
    -------
    "ari"; "recovered" and "pieces", counts over optional pieces; "regions", how many change; "iou",
    the matched overlap of each piece, and "match", its region's label or -1 (optional or not).
    """
    optional = np.asarray(optional, bool)
    names = np.unique(region[region != NOISE])
    overlap = region_overlap(region, piece, len(optional))
    if constant is not None:
        overlap[np.ix_(optional, names == constant)] = 0.0
    column = match_regions(overlap)
    matched = column != NOISE
    iou, match = np.zeros(len(optional)), np.full(len(optional), NOISE)
    iou[matched] = overlap[matched, column[matched]]
    match[matched] = names[column[matched]]
    return {
        "ari": float(adjusted_rand_score(piece if constant is None else np.where(optional[piece], piece, -1), region)),
        "recovered": int(np.count_nonzero(iou[optional] >= RECOVERED)),
        "pieces": int(np.count_nonzero(optional)),
        "regions": int(np.count_nonzero(names != constant)),
        "iou": [float(value) for value in iou],
        "match": [int(value) for value in match],
    }
