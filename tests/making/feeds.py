"""Feeds of images that lie in memory, and feeds to which something happens while they are read."""

from __future__ import annotations

import os
import signal

import numpy as np

from libhetero.records import Batch
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig
from tests.making.particles import make_particles

BOX = 16


class ArrayReader:
    """Reads images from an array."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices`."""
        return np.array(self.images[indices], np.float32)


def make_feed(count: int = 50) -> ParticleFeed:
    """Noisy copies of one blob."""
    random = np.random.default_rng(1)
    axis = np.arange(BOX) - BOX // 2
    blob = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / 8)
    images = blob + 0.1 * random.normal(size=(count, BOX, BOX))
    return ParticleFeed(ArrayReader(images.astype(np.float32)), make_particles(count), PreprocessConfig())


class Signalling:
    """A feed that sends its own process a signal when it is read for the `reading`-th time."""

    def __init__(self, feed: ParticleFeed, reading: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.feed, self.left, self.number = feed, reading, number

    def __len__(self) -> int:
        return len(self.feed)

    def batch(self, index: np.ndarray, size: int | None = None) -> Batch:
        """Read a batch, or be killed."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.feed.batch(index, size)
