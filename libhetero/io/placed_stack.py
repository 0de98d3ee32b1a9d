"""An MRC stack of known size whose images are written at their places, in any order.

Any number of processes may write into one stack at the same time. What is written when the context
is left lies on the disk: it survives the process, and the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.files import flush_to_disk
from libhetero.io.mrc_header import HEADER_SIZE, make_header
from libhetero.io.pixel_statistics import PixelStatistics


@dataclass(frozen=True)
class PlacedStack:
    """A float32 stack in the making.

    Parameters
    ----------
    path : the .mrcs file.
    n : box size, pixels.
    count : images.
    pixel_size : Å.
    """

    path: Path
    n: int
    count: int
    pixel_size: float

    @property
    def size(self) -> int:
        """Size of the file, bytes."""
        return HEADER_SIZE + 4 * self.count * self.n**2

    def create(self) -> None:
        """Make the file at its full size; where the file system can, it takes no room yet."""
        with open(self.path, "xb") as file:
            file.write(self._header(PixelStatistics()))
            file.truncate(self.size)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[np.ndarray, np.ndarray], None]]:
        """Yield a function that writes images at their 0-based places."""
        descriptor = os.open(self.path, os.O_WRONLY)

        def write(images: Float[np.ndarray, "count n n"], places: Int[np.ndarray, "count"]) -> None:
            for place, image in zip(places, np.ascontiguousarray(images, "<f4"), strict=True):
                _write_at(descriptor, image.data.cast("B"), HEADER_SIZE + int(place) * image.nbytes)

        try:
            yield write
            flush_to_disk(self.path)
        finally:
            os.close(descriptor)

    def finish(self, statistics: PixelStatistics) -> None:
        """Put the statistics of all pixels into the header."""
        with open(self.path, "r+b") as file:
            file.write(self._header(statistics))

    def _header(self, statistics: PixelStatistics) -> bytes:
        header = make_header((self.count, self.n, self.n), self.pixel_size, volume=False)
        statistics.put_into(header)
        return header.tobytes()


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of the data: a system may take a part of it only, as when the disk gets full."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
