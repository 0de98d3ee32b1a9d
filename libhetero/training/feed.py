"""Batches of particles, in an order that needs no memory of what came before.

The particles of step s are a function of (seed, s) alone, see `libhetero.training.order`. Training can
therefore be resumed at any step, on any number of devices, and meets the same particles. Every batch has
the same shape: a short last batch is padded with repeats of its first particle at weight 0 (real images
rather than zeros, so that no model divides by nothing). An image with pixels that are not finite is zeros
at weight 0, see `libhetero.training.bad_images`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.cores import usable_cores
from libhetero.physics.observation import seen_through
from libhetero.records import Batch, ParticleSet
from libhetero.tilts import rows_of_particles
from libhetero.training.bad_images import BadImages
from libhetero.training.configuration import PreprocessConfig
from libhetero.training.order import ChunkedOrder, Pool, storage_order
from libhetero.training.preprocess import Reader, as_models_expect, preprocess

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
BLOCK_SIZE = 2**24  # bytes of stored images that are read and prepared at a time
MOST_THREADS = 8


@runtime_checkable
class Prepared(Protocol):
    """Anything that gives images as `ParticleFeed.prepared` makes them, by place in the particle set."""

    def read(self, index: Int[np.ndarray, "count"]) -> tuple[Float[np.ndarray, "count m m"], Bool[np.ndarray, "count"]]:
        """Return images and which of them were finite."""


@runtime_checkable
class Feed(Protocol):
    """What is drawn from, as the loop knows it: particles, of one image each or of several."""

    def __len__(self) -> int:
        """Return the number of particles."""

    def batch(self, index: Int[np.ndarray, "count"], size: int | None = None) -> Batch:
        """Return the particles at `index`, padded to `size` at weight 0."""


@dataclass(frozen=True, eq=False)
class ParticleFeed:
    """Particles ready for a model: images read lazily and prepared, poses and CTFs beside them.

    Several threads may read from one feed if they may from its reader.

    Parameters
    ----------
    reader : anything with `.read(indices) -> (len(indices), n, n)`; indices into `particles`.
    particles : with pose and CTF, one box size and one pixel size.
    config : how images are prepared.
    bad : counts images that are not finite; None refuses the first.
    cache : gives images that have been prepared before; None to prepare them anew.
    pool : how much of the set training draws from at a time.

    Raises
    ------
    DataError : if the particles have no poses or no CTF, or several box or pixel sizes.
    """

    reader: Reader
    particles: ParticleSet
    config: PreprocessConfig
    bad: BadImages | None = None
    cache: Prepared | None = None
    pool: Pool = field(default_factory=Pool)

    def __post_init__(self) -> None:
        self.particles.uniform_box_size()
        self.particles.uniform_pixel_size()
        self.particles.poses_and_ctfs()

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def box_size(self) -> int:
        """Box of the images that the model sees, pixels."""
        return self.config.box_size or self.particles.uniform_box_size()

    @property
    def views(self) -> int:
        """Rows of a batch that a particle takes; see `libhetero.training.series` for particles of several images."""
        return 1

    @cached_property
    def rows(self) -> tuple[Int[np.ndarray, "particles views"], Bool[np.ndarray, "particles views"]]:
        """Places of each particle's images, and which of these there are (`libhetero.tilts.rows_of_particles`).

        Sorted once for all that draw particles from the feed.
        """
        group = self.particles.group
        return rows_of_particles(np.arange(len(self)) if group is None else np.asarray(group))

    @property
    def pixel_size(self) -> float:
        """Pixel size of the images that the model sees, Å."""
        stored = self.particles.uniform_box_size()
        return self.particles.uniform_pixel_size() * stored / self.box_size

    def batch(self, index: Int[np.ndarray, "count"], size: int | None = None) -> Batch:
        """Return the particles at `index` as a batch of NumPy arrays.

        Parameters
        ----------
        index : places in the particle set.
        size : leading axis of the batch, at least `count`; default `count`.

        Raises
        ------
        DataError : for an image that cannot be read, or one too many that is not finite.
        """
        index = np.asarray(index, np.int64)
        return self.assembled(index, *self.prepared(index), len(index) if size is None else size)

    def assembled(
        self, index: np.ndarray, images: Float[np.ndarray, "count m m"], finite: Bool[np.ndarray, " count"], size: int
    ) -> Batch:
        """Return prepared images as a batch of `size`, with poses and CTFs; see `batch`."""
        missing = size - len(index)
        padded = np.concatenate([index, np.repeat(index[:1], missing)])
        if missing:
            images = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
        pose, ctf = self.particles.poses_and_ctfs()
        pose, ctf = seen_through(pose.take(padded), ctf.take(padded))
        return Batch(
            images=images,
            pose=_float32(pose),
            ctf=_float32(ctf),
            index=padded.astype(np.int32),
            weight=np.concatenate([finite, np.zeros(missing)]).astype(np.float32),
        )

    def prepared(self, index: np.ndarray) -> tuple[Float[np.ndarray, "count m m"], Bool[np.ndarray, " count"]]:
        """Return the images at `index` as the model sees them, zeros where one is not finite, and which are.

        They are read in storage order, a block at a time.

        Raises
        ------
        DataError : for an image that cannot be read, or one too many that is not finite.
        """
        index = np.asarray(index, np.int64)
        if self.cache is not None:
            return self.cache.read(index)
        images = np.empty((len(index), self.box_size, self.box_size), np.float32)
        finite = np.empty(len(index), bool)
        rows = storage_order(self.particles.file_id[index], self.particles.image_index[index])
        block = max(BLOCK_SIZE // (4 * self.particles.uniform_box_size() ** 2), 1)
        for start in range(0, len(index), block):
            part = rows[start : start + block]
            images[part], finite[part] = self._prepared_block(index[part])
        return images, finite

    def _prepared_block(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = self.reader.read(index)
        bad = BadImages(self.particles) if self.bad is None else self.bad
        finite = bad.screen(images, index)
        ctf = self.particles.poses_and_ctfs()[1].take(index)
        images = as_models_expect(images, ctf, self.particles.uniform_pixel_size(), self.particles.phase_flipped)
        return preprocess(images, self.config), finite

    def chunked_order(self, chosen: Int[np.ndarray, "chosen"], batch_size: int, seed: int) -> ChunkedOrder | None:
        """Return the order in which to train on some particles; None where they are permuted as a whole.

        Parameters
        ----------
        chosen : places in the particle set, in rising order.
        batch_size : over all processes.
        seed : of every draw.
        """
        image_size = 4 * self.box_size**2
        if self.pool.holds(len(chosen), image_size):
            return None
        stored = storage_order(self.particles.file_id[chosen], self.particles.image_index[chosen])
        return ChunkedOrder(chosen[stored], batch_size, self.pool.chunk(batch_size, image_size), seed)


def _float32(record: Any) -> Any:
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return type(record)(
        **{name: None if value is None else np.asarray(value, np.float32) for name, value in values.items()}
    )


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return how many batches hold `count` particles."""
    return -(-count // batch_size)


def epoch_order(count: int, seed: int, epoch: int) -> Int[np.ndarray, "count"]:
    """Return the order of the particles in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def step_indices(count: int, batch_size: int, seed: int, first: int, last: int) -> Iterator[Int[np.ndarray, "batch"]]:
    """Yield the particle indices of the steps `first` ≤ step < `last`."""
    per_epoch = steps_per_epoch(count, batch_size)
    order, known = np.zeros(0, np.int64), -1
    for step in range(first, last):
        epoch, place = divmod(step, per_epoch)
        if epoch != known:
            order, known = epoch_order(count, seed, epoch), epoch
        yield order[place * batch_size : (place + 1) * batch_size]


def ordered_indices(count: int, batch_size: int) -> Iterator[Int[np.ndarray, "batch"]]:
    """Yield 0 .. count - 1 in order, `batch_size` at a time."""
    for start in range(0, count, batch_size):
        yield np.arange(start, min(start + batch_size, count))


def reader_threads() -> int:
    """Return how many threads should prepare images: half of the cores, for the step needs the others."""
    return int(np.clip(usable_cores() // 2, 1, MOST_THREADS))


def prefetch(
    load: Callable[[Item], Loaded], items: Iterable[Item], depth: int = 2, threads: int = 1
) -> Generator[Loaded, None, None]:
    """Yield load(item) in order, with `depth` of them, or one a thread, prepared ahead.

    An error in `load` is raised here, at the item that caused it.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    pending: deque = deque()
    try:
        for item in items:
            pending.append(pool.submit(load, item))
            if len(pending) > max(depth, threads):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def fitting_batches(feed: Feed, batch_size: int, indices: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield batches as `feed_batches` does, at most `batch_size` at a time and no more than there are."""
    most = len(feed) if indices is None else len(indices)
    return feed_batches(feed, min(batch_size, max(most, 1)), indices)


def feed_batches(feed: Feed, batch_size: int, indices: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield the particles of a feed in order as NumPy batches of one shape, the last padded at weight 0.

    An image that is not finite is zeros at weight 0, too, in its place.

    Parameters
    ----------
    indices : places in the particle set, in the order wanted; None for all.
    """
    chosen = np.arange(len(feed)) if indices is None else np.asarray(indices)
    pieces = (chosen[places] for places in ordered_indices(len(chosen), batch_size))
    return prefetch(lambda index: feed.batch(index, batch_size), pieces, threads=reader_threads())
