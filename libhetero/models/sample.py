"""Particles of a sample."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from libhetero.records import Batch


def spread_over(sample: Batch, count: int) -> Batch:
    """Return at most `count` particles from all over a sample.

    Where particles have several images, these are drawn, each as a particle of its own, at random by a fixed seed: at
    regular distances they might all be of one tilt.
    """
    number = len(sample.weight)
    if sample.views > 1:
        there = np.flatnonzero(np.asarray(sample.weight) > 0)
        drawn = np.sort(np.random.default_rng(0).permutation(there)[:count])
        return replace(jax.tree.map(lambda leaf: leaf[drawn], sample), views=1)
    chosen = np.arange(min(count, number)) * number // min(count, number)
    return jax.tree.map(lambda leaf: leaf[chosen], sample)
