"""Soft masks around the Gaussians of a region, for focused refinement and classification."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from libhetero.physics.masks import cosine_edge
from libhetero.records import Gaussians

SOFT_EDGE = 4  # voxels over which a mask falls to 0


def typical_spacing(position: Float[np.ndarray, "gaussians 3"]) -> float:
    """Return the median distance of a Gaussian from its nearest neighbour, Å; 0 for one alone."""
    from scipy.spatial import cKDTree

    if len(position) < 2:
        return 0.0
    distance, _ = cKDTree(position).query(position, k=2)
    return float(np.median(distance[:, 1]))


def mask_reach(gaussians: Gaussians) -> float:
    """Return how far a mask reaches from a Gaussian, Å: two of the median sigma, or its neighbours' distance."""
    return max(2 * float(np.median(gaussians.sigma)), typical_spacing(np.asarray(gaussians.position)))


def region_mask(
    position: Float[np.ndarray, "members 3"], box_size: int, pixel_size: float, radius: float, width: float
) -> Float[np.ndarray, "n n n"]:
    """Return a mask (z, y, x), 1 within `radius` of a Gaussian, falling to 0 over `width`.

    Parameters
    ----------
    position : (x, y, z) from the box centre, Å.
    box_size : voxels.
    pixel_size : Å.
    radius, width : Å.
    """
    from scipy.spatial import cKDTree

    axis = (np.arange(box_size) - box_size // 2) * pixel_size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    voxels = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1)
    if len(position) == 0:
        return np.zeros((box_size,) * 3, np.float32)
    reach = radius + width
    distance, _ = cKDTree(position).query(voxels, distance_upper_bound=reach + pixel_size)
    distance = np.minimum(distance, reach).reshape((box_size,) * 3)
    return np.asarray(cosine_edge(distance.astype(np.float32), radius, width))
