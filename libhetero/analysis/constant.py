"""Which Gaussians change at all.

The Gaussians of a quiet core change by noise only. Normalised to unit length such vectors would
point anywhere, so they are set aside first, by the size of the change they share with others:
independent noise is shared with nobody. A core that fluctuates is left to `region_refinement`, which
sees whole regions and not single Gaussians.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

NEGLIGIBLE = 0.02
FLOOR = 0.1


def shared_change(
    similarity: Float[np.ndarray, "gaussians gaussians"], neighbours: int
) -> Float[np.ndarray, "gaussians"]:
    """Return the size of each Gaussian's change in common with the Gaussians most like it.

    s_i = √(mean of the `neighbours` largest C_ij, j ≠ i): the standard deviation of the change
    without the noise that belongs to Gaussian i alone. Same unit as the change.
    """
    count = len(similarity)
    neighbours = min(neighbours, count - 1)
    if neighbours < 1:
        return np.sqrt(np.maximum(np.diag(similarity), 0))
    others = np.array(similarity, np.float64)
    np.fill_diagonal(others, -np.inf)
    largest = np.partition(others, count - neighbours, axis=1)[:, count - neighbours :]
    return np.sqrt(np.maximum(largest.mean(axis=1), 0))


def constant_threshold(size: Float[np.ndarray, "gaussians"], fewest: int) -> float:
    """Return the size of change below which a Gaussian counts as constant.

    A tenth of the change that at least `fewest` Gaussians reach, and at least 0.02.

    Parameters
    ----------
    size : from `shared_change`.
    fewest : Gaussians of a region.
    """
    ordered = np.sort(np.asarray(size, np.float64))[::-1]
    return max(NEGLIGIBLE, FLOOR * float(ordered[min(fewest, len(ordered)) - 1]))
