"""A model small enough to reason about."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.models.family import ModelFamily
from libhetero.records import Batch
from tests.making.feeds import BOX


class Toy(ModelFamily):
    """Predicts every image as gain(image) · template, with random noise on the gain."""

    family, config, box_size, pixel_size = "toy", None, BOX, 2.0
    noise = 0.1

    def init(self, key: jax.Array) -> dict:
        return {"template": 0.1 * jax.random.normal(key, (BOX, BOX)), "head": jnp.zeros(3)}

    def loss(self, params: dict, batch: Batch, key: jax.Array, training: bool = True) -> tuple:
        features = jnp.stack([jnp.ones(len(batch.weight)), *batch.pose.shift.T], axis=-1)
        gain = 1 + features @ params["head"] + self.noise * jax.random.normal(key, batch.weight.shape)
        error = gain[:, None, None] * params["template"] - batch.images
        each = jnp.mean(error**2, axis=(1, 2))
        mean = jnp.sum(batch.weight * each) / jnp.sum(batch.weight)
        return mean, {"gain": jnp.sum(batch.weight * gain) / jnp.sum(batch.weight)}


class Quiet(Toy):
    """The same without noise."""

    noise = 0.0
