"""What the encoder is told of the images of a particle that has several, and which of them it is shown in training.

In training half of the particles are shown all of their images. Of the others each image is shown with a probability
that is drawn anew for each particle, evenly between 0 and 1, and one image at least, so that a network that has learnt
from particles of many images knows those of few.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from libhetero.records import CTFParams

EXPOSURE = 50.0  # e⁻/Å²
TILT_FEATURES = 4
WHOLE = 0.5  # part of the particles that are shown with all of their images


@dataclass(frozen=True, eq=False)
class Tilts:
    """What is known of the images of a particle that has several.

    Parameters
    ----------
    features : of each, from `tilt_features`.
    shown : which are to be seen.
    """

    features: Float[Array, "views features"]
    shown: Bool[Array, "views"]


def tilt_features(ctf: CTFParams | None, views: int) -> Float[Array, "views features"]:
    """Return what tells the images of a particle apart but for their direction of view: d, d², c and c².

    c is the factor of the CTF, which of a tilt is the cosine of its angle, and d the exposure over `EXPOSURE`; where
    none is stated, that of Warp's B-factors, B / 4 (`libhetero.io.exposures`). Zeros where nothing is known.

    Parameters
    ----------
    ctf : of the images.
    views : how many.
    """
    if ctf is None:
        return jnp.zeros((views, TILT_FEATURES))
    exposure = ctf.b_factor / 4 if ctf.exposure is None else ctf.exposure
    known = [jnp.asarray(part, jnp.float32) for part in (exposure / EXPOSURE, ctf.scale)]
    return jnp.stack([power for part in known for power in (part, part**2)], axis=-1)


def some_shown(key: PRNGKeyArray, there: Bool[Array, "particles views"]) -> Bool[Array, "particles views"]:
    """Return which images of each particle are shown in a step of training.

    Parameters
    ----------
    key : of this step.
    there : which images there are.
    """
    of_particle, of_image = jax.random.split(key)
    whole, part = jax.random.uniform(of_particle, (2, len(there), 1))
    drawn = jnp.where(there, jax.random.uniform(of_image, there.shape), jnp.inf)
    lowest = drawn == drawn.min(axis=1, keepdims=True)
    return there & ((whole < WHOLE) | (drawn < part) | lowest)
