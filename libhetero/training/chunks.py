"""Batches of a set that is read in chunks, see `libhetero.training.order`.

Chunks are read and prepared by threads in the order of their first use, and held until their last: the
B chunks in use make about a pool, and read ahead is at most half a pool more, enough to begin the next
epoch while this one ends. Assembling a batch is then a copy.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from libhetero.records import Batch
from libhetero.training.feed import ParticleFeed
from libhetero.training.order import ChunkedOrder, Segment


class ChunkedBatches:
    """The rows of one process, batch after batch.

    Parameters
    ----------
    feed : the particles.
    order : of training.
    rows : of the batches of `order` padded to `size` over all processes, those of this process.
    first, last : the steps wanted, `first` ≤ step < `last`.
    threads : that read and prepare.
    """

    def __init__(
        self, feed: ParticleFeed, order: ChunkedOrder, rows: slice, first: int, last: int, threads: int = 1
    ) -> None:
        self._feed, self._order, self._size = feed, order, rows.stop - rows.start
        self._segments = order.segments(first, last, rows)
        self._next = next(self._segments, None)
        own = range(order.batch_size)[rows]
        self._most_ahead = order.chunk * len(own) // 2
        self._ahead = 0  # images asked for whose first use is to come
        self._waiting: deque[Segment] = deque()
        self._loading: dict[int, deque[tuple[Segment, Future]]] = {row: deque() for row in own}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="chunks")

    def load(self, step: int) -> Batch:
        """Return this process's rows of a batch; steps must be asked for in turn.

        Raises
        ------
        DataError : for an image that cannot be read, or one too many that is not finite.
        """
        self._read_ahead(step)
        m = self._feed.box_size
        index = np.empty(self._size, np.int64)
        images, finite = np.empty((self._size, m, m), np.float32), np.empty(self._size, bool)
        count = 0
        for loading in self._loading.values():
            if loading and step >= loading[0][0].first + len(loading[0][0].particles):
                loading.popleft()
            if not loading or loading[0][0].first > step:
                continue  # a lane that is one particle shorter has ended
            segment, future = loading[0]
            place = step - segment.first
            prepared, whole = future.result()
            index[count], images[count], finite[count] = segment.particles[place], prepared[place], whole[place]
            count += 1
        if count == 0:
            filler = self._feed.batch(self._order.stored[:1], self._size)
            return dataclasses.replace(filler, weight=np.zeros_like(filler.weight))
        return self._feed.assembled(index[:count], images[:count], finite[:count], self._size)

    def _read_ahead(self, step: int) -> None:
        """Ask for every chunk that this step needs, then for those to come, within bounds."""
        while self._waiting and self._waiting[0].first <= step:
            self._ahead -= len(self._waiting.popleft().particles)
        while self._next is not None and (self._next.first <= step or self._ahead < self._most_ahead):
            segment, self._next = self._next, next(self._segments, None)
            future = self._pool.submit(self._feed.prepared, segment.particles)
            self._loading[segment.row].append((segment, future))
            if segment.first > step:
                self._waiting.append(segment)
                self._ahead += len(segment.particles)

    def close(self) -> None:
        """End the threads; what was asked for and not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
