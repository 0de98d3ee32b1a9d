"""Contrast and junk in CryoHype's loss: how much of each image's error counts, and at which contrast.

With the estimate α̂, σ of an image's contrast against its current volume, from the pixels compared in the step
(`libhetero.models.contrast`), the marginal likelihood of the image is that of two kinds of particles,

    (1 - π) N(α̂; 1, s² + σ²) + π N(α̂; 0, σ²)

times what does not depend on s and π. Its gradient in the volume is that of (1 - p) Σ |α T P - X|² / noise, α being the
posterior mean of the contrast and p the probability of junk: so the error of an image is taken at α and weighed by
1 - p. s and π are parameters that follow the gradient of the same likelihood. The mean contrast is 1: the scale of
volumes is free.

The noise of each ring is that of the images' corners, where there is no particle.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from libhetero.models.contrast import ContrastPrior, contrast_evidence, contrast_posterior, estimate_contrast
from libhetero.physics.arrays import AnyArray
from libhetero.physics.correlation import ring_sum
from libhetero.physics.fourier import dft_image
from libhetero.physics.masks import soft_disc
from libhetero.records import Batch

CORNER = 0.9  # of half the box: beyond lies no particle
LEAST_NOISE = 1e-2  # of the mean noise power: what a ring has at least
START_SPREAD, START_JUNK = 0.1, 0.02
MOST_JUNK = 0.9


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


def start_of_contrast() -> dict[str, Array]:
    """Return fresh parameters: the logarithm of the spread, and the logit of the part that is junk."""
    return {"spread": jnp.log(jnp.float32(START_SPREAD)), "junk": _logit(jnp.float32(START_JUNK))}


def prior_of(params: dict[str, Array]) -> ContrastPrior:
    """Return what the parameters say of the set."""
    return ContrastPrior(spread=jnp.exp(params["spread"]), junk=MOST_JUNK * jax.nn.sigmoid(params["junk"]))


def weigh(
    params: dict[str, Array],
    expected: Complex[AnyArray, "pixels"],
    image: Complex[AnyArray, "pixels"],
    noise: Float[AnyArray, "pixels"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Return the contrast of an image, its probability of being junk, and minus the log of its likelihood.

    No gradient passes through the first two; that of the third is to be found in `params` alone.

    Parameters
    ----------
    params : of the contrasts of the set.
    expected, image, noise : T P, X and the noise power, at the pixels compared.
    """
    estimate, deviation = jax.lax.stop_gradient(estimate_contrast(expected, image, 1 / noise))
    prior = prior_of(params)
    evidence = contrast_evidence(estimate, deviation, prior)
    odds = _logit(prior.junk)
    likelihood = jnp.logaddexp(evidence + jnp.log1p(-prior.junk), jnp.log(prior.junk))
    contrast, _ = contrast_posterior(estimate, deviation, prior)
    return jax.lax.stop_gradient(contrast), jax.lax.stop_gradient(jax.nn.sigmoid(odds - evidence)), -likelihood


def _logit(share: Any) -> Array:
    return jnp.log(share) - jnp.log1p(-share)
