"""Particles of a sample."""

from __future__ import annotations

import jax
import numpy as np

from libhetero.records import Batch


def spread_over(sample: Batch, count: int) -> Batch:
    """Return at most `count` particles from all over a sample."""
    number = len(sample.weight)
    chosen = np.arange(min(count, number)) * number // min(count, number)
    return jax.tree.map(lambda leaf: leaf[chosen], sample)
