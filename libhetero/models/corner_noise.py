"""The noise of images where there is no particle, and how much of their power is signal: what a model can explain.

    explainable = ⟨Σ_k w |X|²⟩ - Σ_k w N         signal explained = (Σ_k w |X|² - Σ_k w |α T P - X|²) / explainable

over the particles of a sample, with the noise N of each ring measured in the images' corners. A model that explains
all but the noise comes to 1, one that explains nothing to 0. In the numerator the noise of a particle cancels, so that
it scatters far less than the loss; the denominator is measured once. Its error is a factor common to a run: noise
under the particle that differs from that of the corners by 1 % changes it by 1 % of the noise, a tenth of a signal that
is a tenth of the noise. What a network has learnt of the noise of single images counts as explained; of held-out
particles, it does not. Of images whose corners were masked the noise counts as signal.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.models.sample import spread_over
from libhetero.physics.correlation import ring_sum
from libhetero.physics.fourier import dft_image, ring_index
from libhetero.physics.masks import soft_disc
from libhetero.physics.observation import power
from libhetero.records import Batch

CORNER = 0.9  # of half the box: beyond lies no particle
LEAST_NOISE = 1e-2  # of the mean noise power: what a ring has at least
MOST_MEASURED = 1024  # particles
TOGETHER = 64  # of them at once
CERTAIN = 4.0  # standard errors of the mean power, above which the signal is known: that of the noise is larger
LEAST_SIGNAL = 3e-3  # of the noise: corners and the rest of an image are not more alike


def measure_noise(sample: Batch, n: int) -> Float[np.ndarray, "rings"]:
    """Return the noise power of a Fourier pixel in rings 0 … n // 2, of transforms divided by n.

    Parameters
    ----------
    sample : some hundred particles; those of weight 0 are left out.
    n : box, pixels.
    """
    corners = 1 - soft_disc(n, CORNER * n / 2, n / 16)
    rings = n // 2 + 1

    def one(image: Array) -> Array:
        outside = corners * (image - jnp.sum(corners * image) / jnp.sum(corners))
        return ring_sum(jnp.abs(dft_image(outside) / n) ** 2, rings)

    count = ring_sum(jnp.ones((n, n // 2 + 1)), rings)
    power = np.asarray(jax.jit(jax.vmap(one))(sample.images) / (count * jnp.mean(corners**2)))
    noise = np.average(power, axis=0, weights=np.asarray(sample.weight))
    return np.maximum(noise, LEAST_NOISE * noise.mean() + 1e-30).astype(np.float32)


def measure_explainable(sample: Batch, weight: Float[np.ndarray, "n half"], noise: Float[np.ndarray, "rings"]) -> float:
    """Return the power that a model can explain; 0 where that is not told from nothing.

    Parameters
    ----------
    sample : particles; those of weight 0 are left out.
    weight : w of every Fourier pixel, for transforms divided by n.
    noise : N, as `measure_noise` gives it.
    """
    some, n = spread_over(sample, MOST_MEASURED), weight.shape[0]

    @jax.jit
    def powers(images: Array, weight: Array) -> Array:
        return jax.lax.map(lambda image: jnp.sum(weight * power(dft_image(image) / n)), images, batch_size=TOGETHER)

    used = np.asarray(some.weight) > 0
    of_noise = float(np.sum(weight * noise[np.minimum(ring_index(n), n // 2)], dtype=np.float64))
    signal = np.asarray(powers(some.images, weight), np.float64)[used] - of_noise
    error = signal.std() / np.sqrt(max(len(signal), 1))
    known = len(signal) > 1 and signal.mean() > max(CERTAIN * error, LEAST_SIGNAL * of_noise)
    return float(signal.mean()) if known else 0.0
