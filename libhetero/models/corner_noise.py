"""The noise of images where there is no particle, and how much of their power is signal: what a model can explain.

    explainable = ⟨Σ_k w |X|² - Σ_k w N⟩         signal explained = (Σ_k w |X|² - Σ_k w |α T P - X|²) / explainable

over the images of a sample, with the noise N of each ring measured in the corners of the same image. A model that
explains all but the noise comes to 1, one that explains nothing to 0. In the numerator the noise of a particle
cancels, so that it scatters far less than the loss; the denominator is measured once. Its error is a factor common to
a run: noise under the particle that differs from that of the corners by 1 % changes it by 1 % of the noise, a tenth of
a signal that is a tenth of the noise. Of a signal below 1 % of the noise, as tilt series have at a usual dose, nothing
is told, nor where too few images are there to measure it. What a network has learnt of the noise of single images
counts as explained; of held-out particles, it does not. Of images whose corners were masked the noise counts as
signal.
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
MOST_MEASURED = 4096  # images
TOGETHER = 64  # of them at once
CERTAIN = 8.0  # standard errors, those of the noise among them, above which the signal is known: to an eighth
LEAST_SIGNAL = 1e-2  # of the noise: corners and the rest of an image are not more alike


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
    """Return the power that a model can explain; 0 where that is not known.

    Noise is taken off each image as its own corners say. What corners c lose where their mean is taken off is put back,
    exactly so for white noise: with C and D the transforms of c and c², of which C_0 and D_0 are the sums, white noise
    of power 1 leaves there

        G_k = (D_0 (1 + |C_k|² / C_0²) - 2 Re(conj(C_k) D_k) / C_0) / n²

    Without that, noise would be too low by one part in the pixels of the corners, not little of a faint signal.

    Parameters
    ----------
    sample : particles; those of weight 0 are left out.
    weight : w of every Fourier pixel, for transforms divided by n.
    noise : N, as `measure_noise` gives it: what the signal has to be large beside.
    """
    some, n = spread_over(sample, MOST_MEASURED), weight.shape[0]
    corners = 1 - np.asarray(soft_disc(n, CORNER * n / 2, n / 16), np.float64)
    of_corners, total = jnp.asarray(_weight_of_corners(weight, corners), jnp.float32), np.float32(corners.sum())

    @jax.jit
    def signals(images: Array, weight: Array, of_corners: Array, corners: Array) -> Array:
        def one(image: Array) -> Array:
            outside = corners * (image - jnp.sum(corners * image) / total)
            all_of = jnp.sum(weight * power(dft_image(image) / n))
            return all_of - jnp.sum(of_corners * power(dft_image(outside) / n))

        return jax.lax.map(one, images, batch_size=TOGETHER)

    used = np.asarray(some.weight) > 0
    found = signals(some.images, weight, of_corners, jnp.asarray(corners, jnp.float32))
    signal = np.asarray(found, np.float64)[used]
    error = signal.std() / np.sqrt(max(len(signal), 1))
    of_noise = float(np.sum(weight * noise[np.minimum(ring_index(n), n // 2)], dtype=np.float64))
    known = len(signal) > 1 and signal.mean() > max(CERTAIN * error, LEAST_SIGNAL * of_noise)
    return float(signal.mean()) if known else 0.0


def _weight_of_corners(
    weight: Float[np.ndarray, "n half"], corners: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, "n half"]:
    """Return the weights under which the power of an image's corners is Σ w N; see `measure_explainable`.

    The mean of the corners says nothing: ring 0 has the noise of ring 1.
    """
    n = len(corners)
    ring = np.maximum(np.minimum(ring_index(n), n // 2), 1)
    first, second = np.fft.rfft2(corners), np.fft.rfft2(corners**2)
    left = 1 + np.abs(first) ** 2 / corners.sum() ** 2
    left = (second[0, 0].real * left - 2 * (first.conj() * second).real / corners.sum()) / n**2
    wanted, given = (np.bincount(ring.ravel(), one.ravel(), n // 2 + 1) for one in (weight, left))
    return (wanted / np.maximum(given, 1e-30))[ring]
