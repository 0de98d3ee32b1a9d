"""Particles of several images each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from libhetero.records import Batch
from libhetero.training.feed import ParticleFeed
from tests.making.feeds import make_feed
from tests.making.images import particles


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
