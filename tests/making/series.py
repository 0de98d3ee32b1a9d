"""Particles of several images each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from libhetero.models.family import ModelFamily
from libhetero.physics.gaussians import project_gaussians
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import Run
from libhetero.records import Batch, Gaussians
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import ParticleFeed
from tests.making.feeds import BOX, ArrayReader, make_feed
from tests.making.images import particles
from tests.making.runs import one_molecule, toy_posterior


def in_series(images: int, views: int, *, lacking: Sequence[int] = (), seed: int = 0) -> Batch:
    """Return images of `mixture`, so many a particle; those that particles lack are of weight 0."""
    batch = particles(images, seed=seed)
    weight = np.ones(images, np.float32)
    weight[list(lacking)] = 0
    return dataclasses.replace(batch, weight=weight, views=views)


def series_feed(group: Sequence[int]) -> ParticleFeed:
    """Return a feed of images that show particles of these numbers."""
    feed = make_feed(len(group))
    return dataclasses.replace(feed, particles=dataclasses.replace(feed.particles, group=np.array(group)))


class MeanOfImages(ModelFamily):
    """The latent is the mean pixel of all images of a particle, by which one Gaussian's amplitude is multiplied."""

    family, config, box_size, pixel_size = "gmm", None, BOX, 2.0

    def encode(self, params, batch):
        weight = batch.weight.reshape(-1, batch.views)
        pixel = jnp.mean(batch.images, axis=(1, 2)).reshape(-1, batch.views)
        mean = jnp.sum(weight * pixel, axis=1) / jnp.maximum(jnp.sum(weight, axis=1), 1)
        return jnp.repeat(mean, batch.views)[:, None]

    posterior = toy_posterior
    memberships = one_molecule

    def decode(self, params, latent):
        one = jnp.ones((len(latent), 1))
        return Gaussians(jnp.zeros((len(latent), 1, 3)), 1000 * latent, 4.0 * one)

    def render(self, representation, pose, n, pixel_size):
        return project_gaussians(representation, pose, n, pixel_size)

    def volume(self, representation, n, pixel_size):
        return jnp.full((n, n, n), representation.amplitude[0] / 1000)


def series_run(folder: Path, group: Sequence[int]) -> Run:
    """Return a run of images that differ in brightness alone, of particles of these numbers; see `MeanOfImages`."""
    feed = make_feed(len(group))
    images = feed.reader.images * np.random.default_rng(2).uniform(1, 3, (len(group), 1, 1)).astype(np.float32)
    feed = dataclasses.replace(series_feed(group), reader=ArrayReader(images))
    config = RunConfig(family="gmm", model=None, training=TrainingConfig(), data=DataConfig("toy.star"))
    return _InMemory(folder, config, MeanOfImages(), {"none": jnp.zeros(1)}, feed.particles, images=feed)


@dataclasses.dataclass(frozen=True, eq=False)
class _InMemory(Run):
    images: ParticleFeed | None = None

    def feed(self):
        return self.images
