"""Batches of this process's particles, read ahead and put on its devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from jax.sharding import Mesh

from libhetero.records import Batch
from libhetero.training import sharding
from libhetero.training.feed import prefetch
from libhetero.training.optimiser import TrainingConfig


class Feed(Protocol):
    """What the loop knows of the particles."""

    def __len__(self) -> int:
        """Return the number of particles."""

    def batch(self, index: np.ndarray, size: int | None = None) -> Batch:
        """Return the particles at `index`, padded to `size` at weight 0."""


def placed_batches(
    feed: Feed, indices: Iterable[np.ndarray], config: TrainingConfig, mesh: Mesh
) -> Iterator[Batch]:
    """Yield this process's share of each batch, already on its devices."""
    size = sharding.padded_size(config.batch_size, mesh, config.accumulate)
    rows = sharding.local_rows(size)

    def load(index: np.ndarray) -> Batch:
        return sharding.place_batch(_share(feed, index, rows), mesh)

    return prefetch(load, indices)


def _share(feed: Feed, index: np.ndarray, rows: slice) -> Batch:
    """Read the rows of one process; a process whose rows are all padding repeats a particle."""
    own = index[rows]
    length = rows.stop - rows.start
    if len(own):
        return feed.batch(own, length)
    batch = feed.batch(index[:1], length)
    return dataclasses.replace(batch, weight=np.zeros_like(batch.weight))
