"""Reading the pixels of particles, lazily and in any order.

Images that lie one after the other in a stack are read with one call, into the caller's array.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.io import hdf
from libhetero.io.mrc import MrcStack
from libhetero.io.stack import Stack
from libhetero.records import ParticleSet

OPEN_STACKS = 64


def open_stack(path: str | os.PathLike) -> Stack:
    """Open a stack by its suffix; what has none that is known is taken for MRC."""
    if hdf.is_hdf(path):
        return hdf.HdfStack(path)
    if str(path).lower().endswith((".gz", ".bz2")):
        raise DataError(f"{path}: compressed stacks cannot be read in parts; decompress it first.")
    return MrcStack(path)


@dataclass
class _Lent:
    """An open stack and how many threads read it."""

    stack: Stack
    users: int = 0


class ImageReader:
    """Read images of a particle set as they are stored.

    Parameters
    ----------
    particles : the set; its stacks are opened when first needed, and at most 64 that nobody reads stay open.
    check_finite : raise on an image with NaN or infinite pixels.

    Notes
    -----
    One reader may serve several threads, which read MRC stacks at the same time and HDF stacks in turns.
    """

    def __init__(self, particles: ParticleSet, check_finite: bool = False):
        self.particles = particles
        self.check_finite = check_finite
        self._open: OrderedDict[int, _Lent] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.particles)

    def read(self, indices: Sequence[int] | Int[np.ndarray, "count"]) -> Float[np.ndarray, "count n n"]:
        """Return images `indices` (places in the set), in that order.

        Returns
        -------
        (len(indices), n, n) float32, not normalised, contrast as stored.

        Raises
        ------
        DataError : when an image is missing, not square, of another size, or not finite.
        """
        indices = np.atleast_1d(np.asarray(indices, np.int64))
        if len(indices) == 0:
            raise DataError("no image was asked for; expected at least one particle.")
        n = int(self.particles.box_size[indices[0]])
        images = np.empty((len(indices), n, n), np.float32)
        for run in self._runs(indices):
            place = indices[run[0]]
            file_id = int(self.particles.file_id[place])
            first = int(self.particles.image_index[place])
            self._read_run(file_id, first, [images[row] for row in run])
        return images

    def _runs(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return rows of the result, cut where images no longer follow each other in one stack."""
        file_id, number = self.particles.file_id[indices], self.particles.image_index[indices]
        rows = np.lexsort((number, file_id))
        follows = (np.diff(number[rows]) == 1) & (np.diff(file_id[rows]) == 0)
        return np.split(rows, np.flatnonzero(~follows) + 1)

    def _read_run(self, file_id: int, first: int, images: list[np.ndarray]) -> None:
        with self._lend(file_id, first) as stack:
            if stack.shape != images[0].shape:
                raise DataError(
                    f"{stack.path}: image {first + 1} is {stack.shape}; expected {images[0].shape}. "
                    f"Particles must be square and of one size in a batch."
                )
            stack.read_run(first, images)
        if self.check_finite:
            for number, image in enumerate(images, first):
                _check_finite(image, stack.path, number)

    @contextmanager
    def _lend(self, file_id: int, first: int) -> Iterator[Stack]:
        """Lend an open stack, which stays open until it is given back."""
        with self._lock:
            lent = self._open.get(file_id)
            if lent is None:
                lent = self._open[file_id] = _Lent(self._opened(file_id, first))
            self._open.move_to_end(file_id)
            lent.users += 1
        try:
            yield lent.stack
        finally:
            with self._lock:
                lent.users -= 1
                if self._open.get(file_id) is not lent and lent.users == 0:
                    lent.stack.close()
                self._close_oldest()

    def _opened(self, file_id: int, first: int) -> Stack:
        try:
            return open_stack(self.particles.files[file_id])
        except DataError as error:
            raise DataError(f"image {first + 1} cannot be read: {error}") from None

    def _close_oldest(self) -> None:
        """Close the stacks used longest ago until 64 are left, but none that is being read."""
        idle = [file_id for file_id, lent in self._open.items() if lent.users == 0]
        for file_id in idle[: max(len(self._open) - OPEN_STACKS, 0)]:
            self._open.pop(file_id).stack.close()

    def close(self) -> None:
        """Close every stack, those being read once they are given back; they are opened again when needed."""
        with self._lock:
            for lent in self._open.values():
                if lent.users == 0:
                    lent.stack.close()
            self._open.clear()

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _check_finite(image: np.ndarray, path: str, number: int) -> None:
    if not np.isfinite(image).all():
        raise DataError(
            f"{path}: image {number + 1} has {int((~np.isfinite(image)).sum())} pixels "
            f"that are not finite (NaN); remove the particle from the list."
        )
