"""From the misfit of each image to that of a batch: the one place where a loss is averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from libhetero.records import Batch
from libhetero.tilts import by_particle


def batch_mean(of_image: Callable[..., Any], batch: Batch, *of_each: Any) -> Any:
    """Return Σ_i w_i f_i / max(Σ_i w_i, 1) with f_i = of_image(image, observation, …) of particle i.

    Padding, of weight 0, has no say in it.

    Parameters
    ----------
    of_image : gives a number, or a pytree of numbers, for one particle.
    batch : images, observations and weights w.
    of_each : whatever else it is given of each particle; leading axis batch.
    """
    return _mean(batch, jax.vmap(of_image)(batch.images, batch.observation, *of_each))


def series_mean(of_image: Callable[..., Any], batch: Batch, of_particle: Any, *of_each: Any) -> Any:
    """Return the same, of_particle being what each particle has, which is not copied for each of its images.

    Parameters
    ----------
    of_image : as of `batch_mean`; given image, observation, what its particle has, and whatever else.
    batch : of particles of one image or of several.
    of_particle : leading axis particles.
    of_each : leading axis images.
    """
    return _mean(batch, over_series(of_image, batch, of_particle, *of_each))


def over_series(of_image: Callable[..., Any], batch: Batch, of_particle: Any, *of_each: Any) -> Any:
    """Return what `of_image` gives for each image of a batch; arguments as of `series_mean`."""
    if batch.views == 1:
        return jax.vmap(of_image)(batch.images, batch.observation, of_particle, *of_each)
    images, observation, *rest = by_particle((batch.images, batch.observation, *of_each), batch.views)
    inner = jax.vmap(of_image, (0, 0, None, *[0] * len(rest)))
    found = jax.vmap(inner)(images, observation, of_particle, *rest)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


def _mean(batch: Batch, found: Any) -> Any:
    total = jnp.maximum(jnp.sum(batch.weight), 1.0)
    return jax.tree.map(lambda values: jnp.sum(batch.weight * values) / total, found)
