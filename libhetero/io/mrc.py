"""MRC stacks (.mrcs, .mrc), modes 0, 1, 2, 6 and 12, and the writing of stacks and maps (`mrc_map` reads maps).

Pixel size is cella / mx. Images are (y, x) and maps (z, y, x) in file order; header origins are
ignored. Opening a stack reads its header only; images are read at their places (`libhetero.io.positional`
says why not through a memory map), by any number of threads at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from mrcfile.utils import data_dtype_from_header

from libhetero.errors import DataError
from libhetero.files import check_readable, first_line, replacing
from libhetero.io.memory import check_promised
from libhetero.io.mrc_header import HEADER_SIZE, VOLUME_STACKS, check_mode, header_pixel_size, make_header, parse_header
from libhetero.io.pixel_statistics import PixelStatistics
from libhetero.io.positional import read_into
from libhetero.io.stack import Images, missing_image


class MrcStack:
    """An MRC stack on disk, read image by image; see `libhetero.io.stack.Stack`."""

    def __init__(self, path: str | os.PathLike):
        self.path = str(check_readable(path))
        header = _read_header(self.path)
        check_mode(header, path)
        self._dtype = data_dtype_from_header(header)
        self._offset = HEADER_SIZE + int(header.nsymbt)
        self.count = int(header.nz)
        self.shape = (int(header.ny), int(header.nx))
        self.pixel_size = header_pixel_size(header)
        self.holds_volume = int(header.ispg) in VOLUME_STACKS
        self.looks_like_map = _looks_like_map(header, self.path)
        size = os.path.getsize(self.path) - self._offset
        if size < 0:
            raise DataError(
                f"{path}: truncated: the header says that images begin after {self._offset} bytes, the file has "
                f"{size + self._offset}. Copy the stack again."
            )
        bytes_each = self._dtype.itemsize * self.shape[0] * self.shape[1]
        if self.count < 1 or bytes_each < 1:
            raise DataError(f"{path}: the header says {self.count} images of {self.shape}; not a stack.")
        self.available = self.reach = min(self.count, max(size, 0) // bytes_each)
        self._bytes_each = bytes_each
        if self.available:
            check_promised(bytes_each, f"{path}: image 1")
        self._opening = threading.Lock()
        self._descriptor: int | None = None

    def read(self, index: int) -> Float[np.ndarray, "rows columns"]:
        """Return one image as float32, (rows, columns)."""
        image = np.empty(self.shape, np.float32)
        self.read_run(index, [image])
        return image

    def read_run(self, first: int, images: Images) -> None:
        """Read the images `first`, `first` + 1, … into arrays, in one piece.

        Parameters
        ----------
        images : each (rows, columns) float32, contiguous.

        Raises
        ------
        DataError : for the first of them that the file does not hold (any more), or cannot be read.
        """
        last = first + len(images) - 1
        if not 0 <= first <= last < self.available:
            raise DataError(missing_image(self, first if first < 0 else max(first, self.available)))
        direct = self._dtype == np.dtype(np.float32)
        stored = images if direct else np.empty((len(images), *self.shape), self._dtype)
        self._fill([image.reshape(-1).view(np.uint8).data for image in stored], first)
        if not direct:
            for image, values in zip(images, stored, strict=True):
                image[:] = values

    def _fill(self, buffers: list[memoryview], first: int) -> None:
        offset = self._offset + first * self._bytes_each
        try:
            count = read_into(self._open(), buffers, offset)
        except OSError as error:
            raise DataError(
                f"{self.path}: image {first + 1} cannot be read ({error.strerror or error}); expected "
                f"{self.available} images that can. Check the file and its disk, then go on."
            ) from None
        if count < len(buffers) * self._bytes_each:
            held = first + count // self._bytes_each
            raise DataError(
                f"{self.path}: truncated while in use: image {held + 1} of {self.available} is no longer "
                "there; expected the file to stay as it is. Copy the stack again, then go on."
            )

    def _open(self) -> int:
        with self._opening:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                self._closing = weakref.finalize(self, os.close, self._descriptor)
            return self._descriptor

    def close(self) -> None:
        """Close the file; it is opened again when needed. No other thread may be reading."""
        with self._opening:
            if self._descriptor is not None:
                self._descriptor = None
                self._closing()


def _read_header(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            data = file.read(HEADER_SIZE)
    except OSError as error:
        raise DataError(f"{path}: not an MRC file ({first_line(error)}); check the file.") from None
    return parse_header(data, path)


def _looks_like_map(header: Any, path: str) -> bool:
    """Return whether a header may be that of a map.

    Many programs give stacks the space group of a map, and as many intervals as images; so only a cube looks like
    one, and none whose suffix says that it is a stack.
    """
    cube = int(header.nx) == int(header.ny) == int(header.nz) == int(header.mz) > 1
    return cube and int(header.ispg) > 0 and not path.lower().endswith((".mrcs", ".st"))


class MrcsWriter:
    """Write a float32 stack block by block; it takes its place when complete.

    Parameters
    ----------
    path : the .mrcs file to make.
    n : box size, pixels.
    count : number of images that will come.
    pixel_size : Å.

    Raises
    ------
    DataError : on leaving the context, when more or fewer images came than `count`.
    """

    def __init__(self, path: str | os.PathLike, n: int, count: int, pixel_size: float):
        self.path = Path(path)
        self._shape = (count, n, n)
        self._pixel_size = pixel_size
        self._written = 0
        self._statistics = PixelStatistics()

    def __enter__(self) -> MrcsWriter:
        with contextlib.ExitStack() as resources:
            beside = resources.enter_context(replacing(self.path))
            self._file = resources.enter_context(open(beside, "wb"))
            self._file.write(make_header(self._shape, self._pixel_size, volume=False).tobytes())
            self._resources = resources.pop_all()
        return self

    def write(self, block: Float[np.ndarray, "count n n"]) -> None:
        """Append images, (count, n, n) or (n, n)."""
        block = np.ascontiguousarray(block, "<f4").reshape(-1, *np.shape(block)[-2:])
        if block.shape[1:] != self._shape[1:]:
            raise DataError(f"{self.path}: images are {block.shape[1:]}; expected {self._shape[1:]}.")
        self._file.write(block.data)
        self._written += len(block)
        self._statistics += PixelStatistics.of(block)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if kind is not None:
            return self._resources.__exit__(kind, error, trace)
        with self._resources:
            self._finish()
        return None

    def _finish(self) -> None:
        if self._written != self._shape[0]:
            raise DataError(f"{self.path}: {self._written} images were written; expected {self._shape[0]}.")
        header = make_header(self._shape, self._pixel_size, volume=False)
        self._statistics.put_into(header)
        self._file.seek(0)
        self._file.write(header.tobytes())


def write_map(
    path: str | os.PathLike,
    volume: Float[np.ndarray, "z y x"],
    pixel_size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    particles: int | None = None,
) -> None:
    """Write a float32 map, (z, y, x) with voxels of `pixel_size` Å, the first at `origin` (x, y, z) Å.

    The number of particles that it was made of, where given, is the label "N particles".
    """
    volume = np.ascontiguousarray(volume, "<f4")
    header = make_header(volume.shape, pixel_size, volume=True)
    header["origin"] = origin
    if particles is not None:
        header["nlabl"], header["label"][0] = 1, f"{particles} particles".encode()
    header["dmin"], header["dmax"] = volume.min(), volume.max()
    header["dmean"], header["rms"] = volume.mean(dtype=np.float64), volume.std(dtype=np.float64)
    with replacing(path) as beside, open(beside, "wb") as file:
        file.write(header.tobytes())
        file.write(volume.data)
