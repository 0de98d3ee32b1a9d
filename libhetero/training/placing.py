"""Batches of this process's particles, read ahead and put on its devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from libhetero.records import Batch
from libhetero.training import sharding
from libhetero.training.chunks import ChunkedBatches
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import Feed, ParticleFeed, prefetch, reader_threads, step_indices
from libhetero.training.order import ChunkedOrder


def placed_batches(
    feed: Feed, indices: Iterable[Int[np.ndarray, "_"]], config: TrainingConfig, mesh: Mesh
) -> Generator[Batch, None, None]:
    """Yield this process's share of each batch, already on its devices."""
    size = sharding.padded_size(config.batch_size, mesh, config.accumulate)
    rows = sharding.local_rows(size)

    def load(index: np.ndarray) -> Batch:
        return sharding.place_batch(_share(feed, index, rows), mesh)

    return prefetch(load, indices, threads=reader_threads())


def training_batches(
    feed: Feed, chosen: Int[np.ndarray, "chosen"], config: TrainingConfig, mesh: Mesh, first: int, last: int
) -> Generator[Batch, None, None]:
    """Yield this process's share of the batches of the steps `first` ≤ step < `last`, on its devices.

    The order is that of `libhetero.training.order`; a feed other than a `ParticleFeed`, which says nothing
    of where its images lie, is asked for one permutation an epoch.

    Parameters
    ----------
    chosen : places of the particles to train on, in rising order.
    """
    if isinstance(feed, ParticleFeed):
        order = feed.chunked_order(chosen, config.batch_size, config.seed)
        if order is not None:
            return _chunked_batches(feed, order, config, mesh, first, last)
    steps = step_indices(len(chosen), config.batch_size, config.seed, first, last)
    return placed_batches(feed, (chosen[index] for index in steps), config, mesh)


def _chunked_batches(
    feed: ParticleFeed, order: ChunkedOrder, config: TrainingConfig, mesh: Mesh, first: int, last: int
) -> Generator[Batch, None, None]:
    rows = sharding.local_rows(sharding.padded_size(config.batch_size, mesh, config.accumulate))
    batches = ChunkedBatches(feed, order, rows, first, last, reader_threads())
    try:
        yield from prefetch(lambda step: sharding.place_batch(batches.load(step), mesh), range(first, last))
    finally:
        batches.close()


def _share(feed: Feed, index: np.ndarray, rows: slice) -> Batch:
    """Read the rows of one process; a process whose rows are all padding repeats a particle."""
    own = index[rows]
    length = rows.stop - rows.start
    if len(own):
        return feed.batch(own, length)
    batch = feed.batch(index[:1], length)
    return dataclasses.replace(batch, weight=np.zeros_like(batch.weight))
