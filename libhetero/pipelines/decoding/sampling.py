"""Which particles stand for a whole set."""

from __future__ import annotations

import numpy as np


def spread_indices(total: int, count: int) -> np.ndarray:
    """Return particles 0, N // n, 2 N // n, … at most `count` of them."""
    count = min(count, total)
    return np.arange(count) * total // max(count, 1)
