"""Which Gaussians change at all.

The Gaussians of a constant core change by noise only. Normalised to unit length such vectors would
point anywhere and pollute every region, so they are set aside first, by the size of the change
they share with others: independent noise is shared with nobody.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

CLEAR_SPLIT = 0.7
LARGEST_RATIO = 0.5
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


def constant_threshold(size: Float[np.ndarray, "gaussians"]) -> float:
    """Return the size of change below which a Gaussian counts as constant.

    The sizes are cut in two where the variance between the two groups is largest (Otsu's method),
    at half the mean of the group that changes or below.
    Without a clear gap there is no constant group, and what remains is a floor: a tenth of the
    large changes (their 90th percentile), at least 0.02.

    Parameters
    ----------
    size : from `shared_change`; 1 is presence to absence, or one sigma of displacement.
    """
    ordered = np.sort(np.asarray(size, np.float64))
    count = len(ordered)
    floor = max(NEGLIGIBLE, FLOOR * float(np.percentile(ordered, 90)))
    if count < 2 or ordered.var() == 0:
        return floor
    below = np.arange(1, count)
    total = np.cumsum(ordered)
    low = total[:-1] / below
    high = (total[-1] - total[:-1]) / (count - below)
    between = below * (count - below) * (high - low) ** 2 / count**2
    cut = int(between.argmax())
    clear = between[cut] / ordered.var() >= CLEAR_SPLIT and low[cut] <= LARGEST_RATIO * high[cut]
    if not clear:
        return floor
    return max(floor, float(min(0.5 * (low[cut] + high[cut]), LARGEST_RATIO * high[cut])))
