"""Some pixels of the Fourier disc in place of all, and a loss that is the same on average.

Pixel k is drawn with probability π_k, Σ_k π_k = m, and its error is divided by π_k (Horvitz and
Thompson): E[Σ_{k drawn} e_k / π_k] = Σ_k e_k. With the pixels in order of their ring, their
probabilities laid end to end and m marks a distance 1 apart from one random start, every ring is
given its share in every draw, and every draw has m pixels (systematic sampling).

What a network is shown it learns to copy, noise and all, where that is most of what there is. So the pixels that are
drawn are taken out of the image that the encoder is shown (`kept`), the others divided by 1 - π_k, which leaves the
image the same on average: noise of one pixel says nothing of that of another, so that no noise lowers the loss
(Batson and Royer). No pixel is drawn with a probability above `MOST_HIDDEN` then.

π_k grows with the signal that ring k has on average, which is what a step can learn from; every pixel
keeps `LEAST` of the mean probability, so that no error is weighed much more than the others.

References
----------
Batson and Royer, Proc. Mach. Learn. Res. 97 (2019) 524: Noise2Self, of functions of a pixel that do not see it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

LEAST = 0.4
MOST_HIDDEN = 0.5


def inclusion_probability(
    signal: Float[np.ndarray, "pixels"], count: int, most: float = 1.0
) -> Float[np.ndarray, "pixels"]:
    """Return π of every pixel, summing to `count`; the most for all where there are no more.

    Parameters
    ----------
    signal : root mean square of the signal at each pixel, any unit.
    count : m, pixels to draw.
    most : that a pixel may have.
    """
    if count >= most * len(signal):
        return np.full(len(signal), most)
    share = signal / max(float(signal.mean()), 1e-30)
    share = np.maximum(share, LEAST)
    full = np.zeros(len(signal), bool)
    while True:  # what would be drawn more often is drawn as often as it may be, and the rest shared again
        rest = count - most * np.count_nonzero(full)
        probability = np.where(full, most, share * rest / share[~full].sum())
        over = (probability > most) & ~full
        if not over.any():
            return probability
        full |= over


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


def kept(
    chosen: Int[Array, "count"], disc: Int[np.ndarray, "pixels"], probability: Float[Array, "pixels"], n: int
) -> Float[Array, "n half"]:
    """Return by what each Fourier pixel of an image is multiplied for the encoder: 0 where it was drawn.

    Parameters
    ----------
    chosen : places in the disc, from `draw`.
    disc : flat indices of its pixels (`physics.fourier.disc_indices`), in the order of the probabilities.
    probability : π.
    n : box, pixels.
    """
    shown = (1 / (1 - probability)).at[chosen].set(0.0)
    half = n // 2 + 1
    row, column = np.divmod(disc, half)
    conjugate = np.where(column == 0, (-row % n) * half, disc)  # along kx = 0 both of k and -k are there
    return jnp.ones(n * half).at[disc].set(shown).at[conjugate].set(shown).reshape(n, half)
