"""A batch of images of one small complex, in memory."""

from __future__ import annotations

import jax
import numpy as np

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.records import Batch, CTFParams, Gaussians, Pose
from tests.making.mixtures import mixture
from tests.making.optics import defocus_series
from tests.making.poses import poses

BOX, PIXEL = 16, 4.0
COUNT = 4


@jax.jit
def clean_images(gaussians: Gaussians, pose: Pose, ctf: CTFParams) -> jax.Array:
    """Return projections of one mixture with CTF, (count, BOX, BOX)."""

    def one(pose: Pose, ctf: CTFParams) -> jax.Array:
        plane = project_gaussians(gaussians, pose, BOX, PIXEL)
        return real_image(plane * ctf_at(ctf, half_plane(BOX, PIXEL)), BOX)

    return jax.vmap(one)(pose, ctf)


def batch_of(images: np.ndarray, pose: Pose, ctf: CTFParams) -> Batch:
    """Return a batch of whole particles, numbered from 0."""
    count = len(images)
    index, weight = np.arange(count, dtype=np.int32), np.ones(count, np.float32)
    return Batch(images=np.asarray(images, np.float32), pose=pose, ctf=ctf, index=index, weight=weight)


def particles(count: int = COUNT, noise: float = 0.5, scale: float = 1.0, seed: int = 0) -> Batch:
    """Return images of `mixture`, times `scale`, with noise in units of their deviation."""
    pose, ctf = poses(count, seed), defocus_series(count)
    images = scale * np.asarray(clean_images(mixture(), pose, ctf))
    random = np.random.default_rng(seed + 1)
    return batch_of(images + noise * images.std() * random.normal(size=images.shape), pose, ctf)
