"""A model and a stack small enough to reason about."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.records import Batch, CTFParams, ParticleSet, Pose
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig

BOX = 16


class ArrayReader:
    """Reads images from an array."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def read(self, indices: np.ndarray) -> np.ndarray:
        return np.array(self.images[indices], np.float32)


class Toy:
    """Predicts every image as gain(image) · template, with random noise on the gain."""

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


def make_particles(count: int, box: int = BOX, pixel_size: float = 2.0) -> ParticleSet:
    """Particles in one imaginary stack, with poses and CTFs."""
    random = np.random.default_rng(0)
    ones = np.ones(count)
    defocus = 15000 + 5000 * random.random(count)
    ctf = CTFParams(
        defocus_u=defocus,
        defocus_v=defocus,
        defocus_angle=0.3 * ones,
        voltage=300 * ones,
        spherical_aberration=2.7 * ones,
        amplitude_contrast=0.1 * ones,
        phase_shift=0 * ones,
        b_factor=0 * ones,
        scale=ones,
    )
    return ParticleSet(
        files=("imaginary.mrcs",),
        file_id=np.zeros(count, int),
        image_index=np.arange(count),
        box_size=np.full(count, box),
        pixel_size=np.full(count, pixel_size),
        pose=Pose(rotation=np.tile(np.eye(3), (count, 1, 1)), shift=random.normal(size=(count, 2))),
        ctf=ctf,
    )


def make_feed(count: int = 50) -> ParticleFeed:
    """Noisy copies of one blob."""
    random = np.random.default_rng(1)
    axis = np.arange(BOX) - BOX // 2
    blob = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / 8)
    images = blob + 0.1 * random.normal(size=(count, BOX, BOX))
    return ParticleFeed(ArrayReader(images.astype(np.float32)), make_particles(count), PreprocessConfig())
