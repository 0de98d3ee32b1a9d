"""Models of every kind, small enough to compile in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from libhetero import models
from libhetero.models.family import ModelFamily
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.hype.config import HypeConfig
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import disc_indices, fourier_image, half_plane
from libhetero.records import Batch, CTFParams, Pose
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture
from tests.making.starts import moving_start

HYPE = {
    "patch": 8,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "head_dim": 8,
    "feed_forward": 16,
    "weight_tokens": 3,
    "inr_width": 16,
    "inr_layers": 2,
    "inr_frequencies": 8,
}
GMM = {
    "latent_size": 3,
    "encoder_width": 16,
    "mlp_width": 16,
    "points": (6, 64),
    "neighbours": 4,
    "channels": 8,
    "attention_channels": 8,
    "attention_groups": 2,
    "interpolation": 3,
}
CLASSES = "hype+classes"  # begun from classes, for which there are too few particles here
CONFIGS = {
    "hype": ("hype", HypeConfig(**HYPE)),
    CLASSES: ("hype", HypeConfig(**HYPE, start="classes")),
    "gmm+pointtransformer": ("gmm", GmmConfig(**GMM, vary="pas")),
    "gmm+mlp": ("gmm", GmmConfig(**GMM, encoder="network", decoder="mlp", loss="frc")),
}


@cache
def make_model(name: str) -> ModelFamily:
    """Return a model of `CONFIGS`, its statistics measured on particles, once in a process: it is not changed."""
    family, config = CONFIGS[name]
    model = models.create(family, config, box_size=BOX, pixel_size=PIXEL, sample=particles(), gaussians=mixture())
    return dataclasses.replace(model, start=moving_start(BOX), config=config) if name == CLASSES else model


def random_params(init: Callable[[jax.Array], Any], seed: int = 7) -> Any:
    """Return parameters of the shapes that `init` makes, none of them 0, without compiling it."""
    random = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        scale = 0.3 if len(leaf.shape) < 2 else leaf.shape[-2] ** -0.5
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(centre + scale * random.normal(size=leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0)))


def square_errors(model: ModelFamily, params: Any, batch: Batch) -> jax.Array:
    """Return the mean square error of each image rendered whole, over 0 < |k| < n / 2, for transforms divided by n."""
    decoded = model.decode(params, model.encode(params, batch))

    def one(weights: Any, pose: Pose, ctf: CTFParams, image: jax.Array) -> jax.Array:
        plane = model.render(weights, pose, BOX, PIXEL) * ctf_at(ctf, half_plane(BOX, PIXEL))
        error = jnp.abs(plane - fourier_image(image)).reshape(-1)[disc_indices(BOX)]
        return jnp.mean((error / BOX) ** 2)

    return jax.vmap(one)(decoded, batch.pose, batch.ctf, batch.images)
