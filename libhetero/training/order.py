"""The order in which training meets the particles: a function of (seed, epoch, step), without memory.

A set that fits the pool is drawn from as a whole: epoch e is one permutation of all particles from
(seed, e), cut into batches.

A larger set is read in pieces that lie together on the disk. Its N particles in storage order (stack by
stack as listed, image by image) are cut into chunks of C neighbours, the cuts moved by a random offset
each epoch. The chunks are permuted, so is the inside of each, and laid end to end they make the
sequence S of the epoch. S is cut into B lanes of equal length (to one particle), B the batch size, and

    row r of batch s is S[start_r + s],

so that every batch takes one particle from each of B parts of the set drawn at random, and the B chunks
that a batch touches serve the next C or so batches. Two particles meet in a batch in one epoch and not
in another; every particle comes once an epoch; the last batch is short.

    C = pool / B,

so what is held in memory depends neither on N nor on B. A process that feeds some of the rows needs the
chunks of these rows only; the batches are the same for any number of processes and devices, and any
step can be gone to at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

STREAM = 2  # of random numbers, apart from those of permutations and of held-out particles


@dataclass(frozen=True)
class Pool:
    """How much of a set is drawn from at a time; part of the definition of the order.

    Parameters
    ----------
    particles : sets of at most so many are permuted as a whole, whatever their size.
    size : bytes of images held in memory; sets of at most so much are permuted as a whole too.
    """

    particles: int = 8192
    size: int = 2**29

    def holds(self, count: int, image_size: int) -> bool:
        """Return whether `count` images of `image_size` bytes are permuted as a whole."""
        return count <= max(self.particles, self.size // image_size)

    def chunk(self, batch_size: int, image_size: int) -> int:
        """Return how many neighbours make a chunk, at least one."""
        return max(self.size // (image_size * batch_size), 1)


@dataclass(frozen=True, eq=False)
class Segment:
    """Particles of one chunk that one row of consecutive batches takes.

    Parameters
    ----------
    row : of the batch.
    first : step that takes the first of them.
    particles : places in the particle set, one a step.
    """

    row: int
    first: int
    particles: Int[np.ndarray, " steps"]


@dataclass(frozen=True, eq=False)
class ChunkedOrder:
    """The order of a set that is larger than the pool; see the module's docstring.

    Parameters
    ----------
    stored : places in the particle set, in storage order.
    batch_size : B.
    chunk : C, particles.
    seed : of every draw.
    """

    stored: Int[np.ndarray, " count"]
    batch_size: int
    chunk: int
    seed: int

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""
        return -(-len(self.stored) // self.batch_size)

    def starts(self) -> Int[np.ndarray, "_"]:
        """Return where each lane starts in the sequence, and where the last ends, (B + 1,)."""
        shorter, longer = divmod(len(self.stored), self.batch_size)
        rows = np.arange(self.batch_size + 1)
        return rows * shorter + np.minimum(rows, longer)

    def sequence(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return S of one epoch, places in the particle set, and the chunk that each comes from."""
        random = np.random.default_rng([self.seed, epoch, STREAM])
        count = len(self.stored)
        chunk = (np.arange(count) + random.integers(self.chunk)) // self.chunk
        rank = random.permutation(chunk[-1] + 1)[chunk]
        order = np.argsort(rank + random.random(count), kind="stable")
        return self.stored[order], chunk[order]

    def batches(self, first: int, last: int) -> Iterator[Int[np.ndarray, "batch"]]:
        """Yield the particles of the steps `first` ≤ step < `last`, each batch in the order of its rows."""
        starts, known = self.starts(), -1
        for step in range(first, last):
            epoch, place = divmod(step, self.steps)
            if epoch != known:
                sequence, known = self.sequence(epoch)[0], epoch
            yield sequence[(starts[:-1] + place)[place < np.diff(starts)]]

    def segments(self, first: int, last: int, rows: slice) -> Iterator[Segment]:
        """Yield what some rows take in the steps `first` ≤ step < `last`, in order of first use."""
        for epoch in range(first // self.steps, -(-last // self.steps)):
            before = epoch * self.steps
            yield from self._segments(epoch, max(first - before, 0), min(last - before, self.steps), rows)

    def _segments(self, epoch: int, first: int, last: int, rows: slice) -> Iterator[Segment]:
        sequence, chunk = self.sequence(epoch)
        starts, found = self.starts(), []
        for row in range(self.batch_size)[rows]:
            begin = starts[row] + first
            end = min(starts[row] + last, starts[row + 1])
            if end <= begin:
                continue
            cuts = begin + 1 + np.flatnonzero(np.diff(chunk[begin:end]))
            edges = [begin, *cuts, end]
            for left, right in zip(edges, edges[1:], strict=False):
                found.append((left - starts[row], row, left, right))
        for place, row, left, right in sorted(found):
            yield Segment(row, epoch * self.steps + int(place), sequence[left:right])


def storage_order(file_id: Int[np.ndarray, "count"], image_index: Int[np.ndarray, "count"]) -> Int[np.ndarray, "count"]:
    """Return the particles by stack as listed and by image in it."""
    return np.lexsort((image_index, file_id))
