"""The contrast of a list of particles, looked at before anything is known of the structure."""

from __future__ import annotations

import dataclasses

import numpy as np

from libhetero.io import ImageReader
from libhetero.physics.observation import seen_through
from libhetero.pipelines.run.particles import unit_ctf
from libhetero.records import Batch, ParticleSet, Pose
from libhetero.training.contrast import ContrastEstimate, estimate_contrast
from libhetero.training.preprocess import as_models_expect

SAMPLE = 200  # particles looked at
SAMPLE_PIXELS = 16_000_000  # and no more pixels than this


def look_at_contrast(particles: ParticleSet) -> ContrastEstimate:
    """Estimate the contrast from a spread sample of the particles of the first box and pixel size.

    Raises
    ------
    DataError : when an image of the sample is not finite.
    """
    alike = (particles.box_size == particles.box_size[0]) & (particles.pixel_size == particles.pixel_size[0])
    places = np.flatnonzero(alike)
    n, pixel_size = int(particles.box_size[0]), float(particles.pixel_size[0])
    count = int(np.clip(SAMPLE_PIXELS // n**2, 2, SAMPLE))
    places = places[np.unique(np.linspace(0, len(places) - 1, count).astype(int))]
    sample = particles.take(places)
    if sample.pose is None:
        rotation = np.broadcast_to(np.eye(3, dtype=np.float32), (len(sample), 3, 3))
        sample = dataclasses.replace(sample, pose=Pose(rotation=rotation, shift=np.zeros((len(sample), 2))))
    if sample.ctf is None:
        sample = dataclasses.replace(sample, ctf=unit_ctf(len(sample)), phase_flipped=False)
    pose, ctf = sample.poses_and_ctfs()
    with ImageReader(sample, check_finite=True) as reader:
        images = reader.read(np.arange(len(sample)))
    images = as_models_expect(images, ctf, pixel_size, sample.phase_flipped)
    pose, ctf = seen_through(pose, ctf)
    weight = np.ones(len(sample), np.float32)
    batch = Batch(images, pose, ctf, places.astype(np.int32), weight)
    return estimate_contrast(batch, pixel_size)
