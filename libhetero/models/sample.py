"""Particles of a sample."""

from __future__ import annotations

import jax

from libhetero.records import Batch


def spread_over(sample: Batch, count: int) -> Batch:
    """Return at most `count` particles from all over a sample."""
    every = max(len(sample.weight) // count, 1)
    return jax.tree.map(lambda leaf: leaf[::every][:count], sample)
