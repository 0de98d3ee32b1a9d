"""Reading the pixels of particles, lazily and in any order."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

import numpy as np

from libhetero.errors import DataError
from libhetero.io.hdf import HdfStack
from libhetero.io.mrc import MrcStack
from libhetero.records import ParticleSet

OPEN_STACKS = 64


def open_stack(path: str | os.PathLike) -> MrcStack | HdfStack:
    """Open a stack by suffix; both kinds have count, available, shape, pixel_size and read(i)."""
    if str(path).endswith((".hdf", ".h5")):
        return HdfStack(path)
    if str(path).endswith((".gz", ".bz2")):
        raise DataError(f"{path}: compressed stacks cannot be read in parts; decompress it first.")
    return MrcStack(path)


class ImageReader:
    """Read images of a particle set as they are stored.

    Parameters
    ----------
    particles : the set; its stacks are opened when first needed and at most 64 stay open.
    check_finite : raise on an image with NaN or infinite pixels.

    Notes
    -----
    One reader may serve several threads; reads take turns.
    """

    def __init__(self, particles: ParticleSet, check_finite: bool = False):
        self.particles = particles
        self.check_finite = check_finite
        self._open: OrderedDict[int, MrcStack | HdfStack] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.particles)

    def read(self, indices: np.ndarray) -> np.ndarray:
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
        places = np.lexsort((self.particles.image_index[indices], self.particles.file_id[indices]))
        with self._lock:
            for place in places:
                images[place] = self._read_one(int(indices[place]), n)
        return images

    def _read_one(self, index: int, n: int) -> np.ndarray:
        stack = self._stack(int(self.particles.file_id[index]))
        number = int(self.particles.image_index[index])
        image = stack.read(number)
        if image.shape != (n, n):
            raise DataError(
                f"{stack.path}: image {number + 1} is {image.shape}; expected {(n, n)}. "
                f"Particles must be square and of one size in a batch."
            )
        if self.check_finite and not np.isfinite(image).all():
            raise DataError(
                f"{stack.path}: image {number + 1} has {int((~np.isfinite(image)).sum())} pixels "
                f"that are not finite (NaN); remove the particle from the list."
            )
        return image

    def _stack(self, file_id: int) -> MrcStack | HdfStack:
        stack = self._open.get(file_id)
        if stack is None:
            stack = open_stack(self.particles.files[file_id])
            self._open[file_id] = stack
            if len(self._open) > OPEN_STACKS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(file_id)
        return stack

    def close(self) -> None:
        """Close every stack; the reader opens them again when needed."""
        with self._lock:
            for stack in self._open.values():
                stack.close()
            self._open.clear()

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
