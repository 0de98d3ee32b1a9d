"""Batches of particles, in an order that needs no memory of what came before.

The particles of step s are a function of (seed, s) alone: epoch e = s // steps_per_epoch is a
permutation drawn from (seed, e), cut into batches. Training can therefore be resumed at any step,
on any number of devices, and meets the same particles. Every batch has the same shape: a short
last batch is padded with repeats of its first particle at weight 0 (real images rather
than zeros, so that no model divides by nothing).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from libhetero.errors import DataError
from libhetero.records import Batch, ParticleSet
from libhetero.training.preprocess import PreprocessConfig, Reader, preprocess, restore_signs

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True, eq=False)
class ParticleFeed:
    """Particles ready for a model: images read lazily and prepared, poses and CTFs beside them.

    Parameters
    ----------
    reader : anything with `.read(indices) -> (len(indices), n, n)`; indices into `particles`.
    particles : with pose and CTF, one box size and one pixel size.
    config : how images are prepared.

    Raises
    ------
    DataError : if the particles have no poses or no CTF, or several box or pixel sizes.
    """

    reader: Reader
    particles: ParticleSet
    config: PreprocessConfig

    def __post_init__(self) -> None:
        self.particles.uniform_box_size()
        self.particles.uniform_pixel_size()
        for name in ("pose", "ctf"):
            if getattr(self.particles, name) is None:
                raise DataError(f"the particles have no {name}; expected one for each image.")

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def box_size(self) -> int:
        """Box of the images that the model sees, pixels."""
        return self.config.box_size or self.particles.uniform_box_size()

    @property
    def pixel_size(self) -> float:
        """Pixel size of the images that the model sees, Å."""
        stored = self.particles.uniform_box_size()
        return self.particles.uniform_pixel_size() * stored / self.box_size

    def batch(self, index: np.ndarray, size: int | None = None) -> Batch:
        """Return the particles at `index` as a batch of NumPy arrays.

        Parameters
        ----------
        index : (count,) places in the particle set.
        size : leading axis of the batch, at least `count`; default `count`.

        Raises
        ------
        DataError : for a pixel that is not finite, naming the file and the image.
        """
        index = np.asarray(index, np.int64)
        size = len(index) if size is None else size
        padded = np.concatenate([index, np.repeat(index[:1], size - len(index))])
        weight = (np.arange(size) < len(index)).astype(np.float32)
        images = self._prepared(index)
        images = np.concatenate([images, np.repeat(images[:1], size - len(index), axis=0)])
        return Batch(
            images=images,
            pose=_float32(self.particles.pose.take(padded)),
            ctf=_float32(self.particles.ctf.take(padded)),
            index=padded.astype(np.int32),
            weight=weight,
        )

    def _prepared(self, index: np.ndarray) -> np.ndarray:
        images = self.reader.read(index)
        if not np.isfinite(images.sum(dtype=np.float64)):
            finite = np.isfinite(images).all(axis=(1, 2))
            self._refuse(int(index[np.argmin(finite)]))
        if self.particles.phase_flipped:
            ctf = _float32(self.particles.ctf.take(index))
            images = restore_signs(images, ctf, self.particles.uniform_pixel_size())
        return preprocess(images, self.config)

    def _refuse(self, place: int) -> None:
        path = self.particles.files[self.particles.file_id[place]]
        raise DataError(
            f"{path}: image {self.particles.image_index[place] + 1} has pixels that are not finite "
            "(NaN or infinity); expected finite pixels. Remove the particle from the list."
        )


def _float32(record: Any) -> Any:
    return type(record)(
        **{
            field.name: np.asarray(getattr(record, field.name), np.float32)
            for field in dataclasses.fields(record)
        }
    )


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return how many batches hold `count` particles."""
    return -(-count // batch_size)


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the particles in one epoch, (count,) int."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def step_indices(count: int, batch_size: int, seed: int, first: int, last: int) -> Iterator:
    """Yield the particle indices of the steps `first` ≤ step < `last`."""
    per_epoch = steps_per_epoch(count, batch_size)
    order, known = None, -1
    for step in range(first, last):
        epoch, place = divmod(step, per_epoch)
        if epoch != known:
            order, known = epoch_order(count, seed, epoch), epoch
        yield order[place * batch_size : (place + 1) * batch_size]


def ordered_indices(count: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield 0 .. count - 1 in order, `batch_size` at a time."""
    for start in range(0, count, batch_size):
        yield np.arange(start, min(start + batch_size, count))


def prefetch(
    load: Callable[[Item], Loaded], items: Iterable[Item], depth: int = 2
) -> Iterator[Loaded]:
    """Yield load(item) in order, with `depth` of them prepared ahead by one thread.

    An error in `load` is raised here, at the item that caused it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    pending: deque = deque()
    try:
        for item in items:
            pending.append(pool.submit(load, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
