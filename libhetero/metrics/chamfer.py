"""Chamfer distance between two thresholded maps.

    CD(A, B) = ½ ( mean_{a ∈ A} min_b |a - b|  +  mean_{b ∈ B} min_a |b - a| ),   in Å

A and B are the voxel centres at or above a level. Publications leave open whether the two means
are added or averaged: here they are averaged, so CD is a typical distance.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import ndimage


def chamfer_distance(first: Bool[np.ndarray, "n n n"], second: Bool[np.ndarray, "n n n"], pixel_size: float) -> float:
    """Return the Chamfer distance in Å; NaN when either set is empty.

    Parameters
    ----------
    first, second : (n, n, n), voxels at or above a level (`threshold.above`).
    pixel_size : Å.
    """
    if not first.any() or not second.any():
        return float("nan")
    to_second = ndimage.distance_transform_edt(~second)[first].mean()
    to_first = ndimage.distance_transform_edt(~first)[second].mean()
    return float(0.5 * (to_second + to_first) * pixel_size)
