"""Volumetric intersection over union, |A ∩ B| / |A ∪ B| of two sets of voxels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool


def volumetric_iou(first: Bool[np.ndarray, "n n n"], second: Bool[np.ndarray, "n n n"]) -> float:
    """Return |A ∩ B| / |A ∪ B|, 0 when both are empty.

    Parameters
    ----------
    first, second : (n, n, n), voxels at or above a level (`threshold.above`).
    """
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0
