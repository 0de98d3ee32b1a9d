"""Some pixels of the Fourier disc in place of all, and a loss that is the same on average.

Pixel k is drawn with probability π_k, Σ_k π_k = m, and its error is divided by π_k (Horvitz and
Thompson): E[Σ_{k drawn} e_k / π_k] = Σ_k e_k. With the pixels in order of their ring, their
probabilities laid end to end and m marks a distance 1 apart from one random start, every ring is
given its share in every draw, and every draw has m pixels (systematic sampling).

π_k grows with the signal that ring k has on average, which is what a step can learn from; every pixel
keeps `LEAST` of the mean probability, so that no error is weighed much more than the others.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

LEAST = 0.4


def inclusion_probability(signal: Float[np.ndarray, "pixels"], count: int) -> Float[np.ndarray, "pixels"]:
    """Return π of every pixel, summing to `count`; 1 for all where there are no more.

    Parameters
    ----------
    signal : root mean square of the signal at each pixel, any unit.
    count : m, pixels to draw.
    """
    if count >= len(signal):
        return np.ones(len(signal))
    share = signal / max(float(signal.mean()), 1e-30)
    share = np.maximum(share, LEAST)
    certain = np.zeros(len(signal), bool)
    while True:  # what would be drawn more than once is drawn for certain, and the rest shared again
        rest = count - np.count_nonzero(certain)
        probability = np.where(certain, 1.0, share * rest / share[~certain].sum())
        over = (probability > 1) & ~certain
        if not over.any():
            return probability
        certain |= over


def draw(key: PRNGKeyArray, probability: Float[Array, "pixels"], count: int) -> Int[Array, "count"]:
    """Return the indices of `count` pixels drawn with these probabilities.

    Parameters
    ----------
    key : of this draw.
    probability : π, summing to `count`, pixels in order of their ring.
    count : m.
    """
    ends = jnp.cumsum(probability)
    marks = jax.random.uniform(key) + jnp.arange(count)
    return jnp.minimum(jnp.searchsorted(ends, marks, side="right"), len(probability) - 1)
