"""Models of every kind and particles of one small complex, small enough to compile in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero import models
from libhetero.models.family import ModelFamily
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.hype.config import HypeConfig
from libhetero.physics.ctf import ctf_image
from libhetero.physics.fourier import real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.records import Batch, CTFParams, Gaussians, Pose

BOX, PIXEL = 16, 4.0
COUNT = 4
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
CONFIGS = {
    "hype": ("hype", HypeConfig(**HYPE)),
    "gmm+pointtransformer": ("gmm", GmmConfig(**GMM)),
    "gmm+mlp": ("gmm", GmmConfig(**GMM, encoder="network", decoder="mlp", loss="frc")),
}


# Compiles in half the time to slower code, which is right for data this small.
QUICK_COMPILER = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quick_jit(function: Callable, **options: Any) -> Callable:
    """Compile with `QUICK_COMPILER`."""
    return jax.jit(function, compiler_options=QUICK_COMPILER, **options)


def mixture(count: int = 20, seed: int = 0) -> Gaussians:
    """Return Gaussians about the box centre, as NumPy."""
    random = np.random.default_rng(seed)
    return Gaussians(
        random.normal(0, 8, (count, 3)).astype(np.float32),
        random.uniform(0.5, 2, count).astype(np.float32),
        random.uniform(4, 6, count).astype(np.float32),
    )


def optics(count: int) -> CTFParams:
    """Return CTFs of one microscope, defocus 1 to 2 µm."""
    ones = np.ones(count, np.float32)
    defocus = np.linspace(10000, 20000, count, dtype=np.float32)
    return CTFParams(
        defocus_u=defocus,
        defocus_v=defocus - 300,
        defocus_angle=0.4 * ones,
        voltage=300 * ones,
        spherical_aberration=2.7 * ones,
        amplitude_contrast=0.1 * ones,
        phase_shift=0 * ones,
        b_factor=0 * ones,
        scale=ones,
    )


def poses(count: int, seed: int = 0) -> Pose:
    """Return random rotations and shifts of some Å."""
    rotation = np.array(random_rotations(jax.random.key(seed), (count,)))
    shift = np.random.default_rng(seed).normal(0, 3, (count, 2))
    return Pose(rotation=rotation, shift=shift.astype(np.float32))


@quick_jit
def clean_images(gaussians: Gaussians, pose: Pose, ctf: CTFParams) -> jax.Array:
    """Return projections of one mixture with CTF."""

    def one(pose: Pose, ctf: CTFParams) -> jax.Array:
        plane = project_gaussians(gaussians, pose, BOX, PIXEL)
        return real_image(plane * ctf_image(ctf, BOX, PIXEL), BOX)

    return jax.vmap(one)(pose, ctf)


def particles(count: int = COUNT, noise: float = 0.5, scale: float = 1.0, seed: int = 0) -> Batch:
    """Return images of `mixture`, times `scale`, with noise in units of their deviation."""
    pose, ctf = poses(count, seed), optics(count)
    images = scale * np.asarray(clean_images(mixture(), pose, ctf))
    random = np.random.default_rng(seed + 1)
    images = images + noise * images.std() * random.normal(size=images.shape)
    weight = np.ones(count, np.float32)
    return Batch(images.astype(np.float32), pose, ctf, np.arange(count, dtype=np.int32), weight)


def make_model(name: str) -> ModelFamily:
    """Return a model of `CONFIGS`, its statistics measured on particles."""
    family, config = CONFIGS[name]
    return models.create(family, config, box_size=BOX, pixel_size=PIXEL, sample=particles(), gaussians=mixture())


def random_params(init: Callable[[jax.Array], Any], seed: int = 7) -> Any:
    """Return parameters of the shapes that `init` makes, none of them 0, without compiling it."""
    random = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        scale = 0.3 if len(leaf.shape) < 2 else leaf.shape[-2] ** -0.5
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(centre + scale * random.normal(size=leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0)))
