"""MRC stacks and maps (.mrcs, .mrc, .map): modes 0, 1, 2, 6 and 12.

Pixel size is cella / mx. Images are (y, x) and maps (z, y, x) in file order; header origins are
ignored. Opening a stack reads its header only; images are read at their places (`libhetero.io.positional`
says why not through a memory map), by any number of threads at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from jaxtyping import Float
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import data_dtype_from_header

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.paths import check_readable
from libhetero.io.pixel_statistics import PixelStatistics
from libhetero.io.positional import read_into
from libhetero.io.stack import Images, missing_image

logger = logging.getLogger(__name__)

HEADER_SIZE = 1024  # bytes
READABLE_MODES = (0, 1, 2, 6, 12)


class MrcStack:
    """An MRC stack on disk, read image by image; see `libhetero.io.stack.Stack`."""

    def __init__(self, path: str | os.PathLike):
        self.path = str(check_readable(path))
        header = _read_header(self.path)
        mode = int(header.mode)
        if mode not in READABLE_MODES:
            raise DataError(
                f"{path}: MRC mode {mode} is not images; expected one of {READABLE_MODES}. "
                f"Convert the stack to mode 2 (float32)."
            )
        if mode == 0:
            logger.warning("%s: mode 0 is read as signed bytes; some programs write unsigned.", path)
        self._dtype = data_dtype_from_header(header)
        self._offset = HEADER_SIZE + int(header.nsymbt)
        self.count = int(header.nz)
        self.shape = (int(header.ny), int(header.nx))
        self.pixel_size = _pixel_size(header)
        self.holds_volume = _holds_volume(header, self.path)
        size = os.path.getsize(self.path) - self._offset
        bytes_each = self._dtype.itemsize * self.shape[0] * self.shape[1]
        if self.count < 1 or bytes_each < 1:
            raise DataError(f"{path}: the header says {self.count} images of {self.shape}; not a stack.")
        self.available = self.reach = min(self.count, max(size, 0) // bytes_each)
        self._bytes_each = bytes_each
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path, header_only=True, permissive=True) as file:
                header = file.header.copy()
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not an MRC file ({reason}); check the file.") from None
    header = header.view(np.recarray) if not hasattr(header, "nx") else header
    if min(int(header.nx), int(header.ny), int(header.nz)) < 1:
        raise DataError(f"{path}: not an MRC file (its header holds no valid size); check the file.")
    return header


def _holds_volume(header: Any, path: str) -> bool:
    """Return whether a header is that of a map, or of several.

    Many programs give stacks the space group of a map, and as many intervals as images; so only a cube is taken
    for one, and none whose suffix says that it is a stack.
    """
    if int(header.ispg) == 401:
        return True
    cube = int(header.nx) == int(header.ny) == int(header.nz) == int(header.mz) > 1
    return cube and int(header.ispg) > 0 and not path.lower().endswith((".mrcs", ".st"))


def _pixel_size(header: Any) -> float:
    """Return cella.x / mx in Å, or 0 when that is no sensible pixel size."""
    mx, length = int(header.mx), float(header.cella.x)
    size = length / mx if mx > 0 else 0.0
    return size if np.isfinite(size) and 0.01 <= size <= 1000.0 else 0.0


def make_header(shape: tuple[int, int, int], pixel_size: float, volume: bool) -> np.ndarray:
    """Return a float32 (mode 2) header for data of `shape` (z, y, x), pixels of `pixel_size` Å."""
    header = np.zeros((), HEADER_DTYPE)
    nz, ny, nx = shape
    header["nx"], header["ny"], header["nz"], header["mode"] = nx, ny, nz, 2
    header["mx"], header["my"], header["mz"] = nx, ny, nz if volume else 1
    depth = nz if volume else 1
    header["cella"] = (nx * pixel_size, ny * pixel_size, depth * pixel_size)
    header["cellb"] = (90.0, 90.0, 90.0)
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["ispg"] = 1 if volume else 0
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nversion"] = 20141
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = 0, -1, -2, -1
    return header


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


def read_map(path: str | os.PathLike) -> tuple[Float[np.ndarray, "z y x"], float]:
    """Return a map as float32 (z, y, x) and its pixel size in Å (0 when the header holds none).

    Compressed maps (.gz, .bz2) and permuted axes (mapc, mapr, maps) are understood.
    """
    check_readable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True) as file:
                data, header = file.data, file.header.copy()
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable map ({reason}); check the file.") from None
    if data is None or data.ndim != 3:
        raise DataError(f"{path}: expected a 3-D map, found no complete one; copy the file again.")
    return _to_zyx(np.asarray(data, np.float32), header), _pixel_size(header)


def _to_zyx(data: np.ndarray, header: Any) -> np.ndarray:
    """Undo a permutation of axes: array axes are (section, row, column) in the file."""
    axes = (int(header.maps), int(header.mapr), int(header.mapc))
    if sorted(axes) != [1, 2, 3]:
        return data
    return np.ascontiguousarray(np.transpose(data, [axes.index(axis) for axis in (3, 2, 1)]))


def write_map(
    path: str | os.PathLike,
    volume: Float[np.ndarray, "z y x"],
    pixel_size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write a float32 map, (z, y, x) with voxels of `pixel_size` Å, the first at `origin` (x, y, z) Å."""
    volume = np.ascontiguousarray(volume, "<f4")
    header = make_header(volume.shape, pixel_size, volume=True)
    header["origin"] = origin
    header["dmin"], header["dmax"] = volume.min(), volume.max()
    header["dmean"], header["rms"] = volume.mean(dtype=np.float64), volume.std(dtype=np.float64)
    with replacing(path) as beside, open(beside, "wb") as file:
        file.write(header.tobytes())
        file.write(volume.data)
