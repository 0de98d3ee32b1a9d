"""A particle set of seconds: one complex in noise, on disk, with its Gaussians."""

from __future__ import annotations

import dataclasses
import os
from functools import cache
from pathlib import Path

import jax
import numpy as np

from libhetero.io import MrcsWriter, write_gaussians, write_particles
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.records import CTFParams, Gaussians, ParticleSet, Pose
from tests.making.mixtures import gaussians
from tests.making.particles import make_particles

BOX, PIXEL = 16, 8.0


def write_tiny_set(folder: Path, count: int = 40, box: int = BOX) -> ParticleSet:
    """Write particles.mrcs, particles.star and gmm.txt; protein is white."""
    particles, images, complex_ = _tiny_set(count, box)
    particles = dataclasses.replace(particles, files=(os.path.abspath(folder / "particles.mrcs"),))
    with MrcsWriter(folder / "particles.mrcs", box, count, PIXEL) as writer:
        writer.write(images)
    write_particles(folder / "particles.star", particles)
    write_gaussians(folder / "gmm.txt", complex_, box, PIXEL)
    return particles


@cache
def _tiny_set(count: int, box: int) -> tuple[ParticleSet, np.ndarray, Gaussians]:
    """Return particles, their images and the complex, made once in a process.

    The images are computed in an even box and clipped.
    """
    random = np.random.default_rng(0)
    position = 20 * random.normal(size=(30, 3)).astype(np.float32)
    complex_ = gaussians(position)
    particles = make_particles(count, box, PIXEL)
    rotation = np.asarray(random_rotations(jax.random.key(0), (count,)))
    particles = dataclasses.replace(particles, pose=dataclasses.replace(particles.pose, rotation=rotation))

    def one(pose: Pose, ctf: CTFParams) -> jax.Array:
        plane = project_gaussians(complex_, pose, BOX, PIXEL) * ctf_at(ctf, half_plane(BOX, PIXEL))
        return real_image(plane, BOX)[:box, :box]

    ctf = jax.tree.map(lambda array: np.asarray(array, np.float32), particles.ctf)
    images = np.asarray(jax.vmap(one)(particles.pose, ctf))
    images = images + images.std() * random.normal(size=images.shape)
    return particles, images.astype(np.float32), complex_
