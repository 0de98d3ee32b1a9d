"""From the misfit of each image to that of a batch: the one place where a loss is averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from libhetero.records import Batch


def batch_mean(of_image: Callable[..., Any], batch: Batch, *of_each: Any) -> Any:
    """Return Σ_i w_i f_i / max(Σ_i w_i, 1) with f_i = of_image(image, observation, …) of particle i.

    Padding, of weight 0, has no say in it.

    Parameters
    ----------
    of_image : gives a number, or a pytree of numbers, for one particle.
    batch : images, observations and weights w.
    of_each : whatever else it is given of each particle; leading axis batch.
    """
    found = jax.vmap(of_image)(batch.images, batch.observation, *of_each)
    total = jnp.maximum(jnp.sum(batch.weight), 1.0)
    return jax.tree.map(lambda values: jnp.sum(batch.weight * values) / total, found)
