"""Contrast and junk in CryoHype's loss: how much of each image's error counts, and at which contrast.

With the estimate α̂, σ of an image's contrast against its current volume, from the pixels compared in the step
(`libhetero.models.contrast`), the marginal likelihood of the image is that of two kinds of particles,

    (1 - π) N(α̂; 1, s² + σ²) + π N(α̂; 0, σ²)

times what does not depend on s and π. Its gradient in the volume is that of (1 - p) Σ |α T P - X|² / noise, α being the
posterior mean of the contrast and p the probability of junk: so the error of an image is taken at α and weighed by
1 - p. s and π are parameters that follow the gradient of the same likelihood. The mean contrast is 1: the scale of
volumes is free.

The noise of each ring is that of the images' corners (`libhetero.models.corner_noise`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from libhetero.models.contrast import ContrastPrior, contrast_evidence, contrast_posterior, estimate_contrast
from libhetero.physics.arrays import AnyArray

START_SPREAD, START_JUNK = 0.1, 0.02
MOST_JUNK = 0.9


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
