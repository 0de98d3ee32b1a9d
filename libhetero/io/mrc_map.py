"""MRC maps (.mrc, .map, also .gz and .bz2), read whole and no further than the header says.

Compressed data are taken as they come: as little memory as is promised and really there, and an end
that does not come is noticed.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from mrcfile.utils import data_dtype_from_header

from libhetero.errors import DataError
from libhetero.files import check_readable, first_line
from libhetero.io.memory import check_promised
from libhetero.io.mrc_header import HEADER_SIZE, VOLUME_STACKS, check_mode, header_pixel_size, parse_header

logger = logging.getLogger(__name__)

COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}
COUNT = re.compile(rb"([1-9][0-9]{0,9}) particles")
PIECE = 2**20  # bytes read at a time
LONGEST_TAIL = 2**16  # bytes beyond what the header promises that a file may have


def read_map(path: str | os.PathLike) -> tuple[Float[np.ndarray, "z y x"], float]:
    """Return a map as float32 (z, y, x) and its pixel size in Å (0 when the header holds none).

    Compressed maps (.gz, .bz2) and permuted axes (mapc, mapr, maps) are understood.

    Raises
    ------
    DataError : if the file is no whole map: another kind of file, cut short, longer than its header says, or more than
        this computer can hold.
    """
    path = check_readable(path)
    with _opened(path) as file:
        header = parse_header(file.read(HEADER_SIZE), path)
        check_mode(header, path)
        nz, ny, nx = (int(header[name]) for name in ("nz", "ny", "nx"))
        kind = data_dtype_from_header(header)
        stack = int(header.ispg) == 0 and int(header.mz) == 1 and nz > 1  # as the format says of images
        if int(header.ispg) in VOLUME_STACKS or nz < 2 or stack:
            what = "one image" if nz < 2 else f"a stack of {nz} images" if stack else "a stack of maps"
            raise DataError(f"{path}: expected a 3-D map, found {what} ({nz} × {ny} × {nx}); give a map.")
        axes = _axes(header, path)
        before, size = HEADER_SIZE + int(header.nsymbt), nz * ny * nx * kind.itemsize
        _check_length(file, path, before + size)
        check_promised(size, str(path))
        _skip(file, before - HEADER_SIZE)
        values = np.frombuffer(_promised(file, size, path), kind).reshape(nz, ny, nx)
        _check_end(file, path)
    data = np.asarray(values, np.float32)
    return np.ascontiguousarray(np.transpose(data, [axes.index(axis) for axis in (3, 2, 1)])), header_pixel_size(header)


def particles_in_map(path: str | os.PathLike) -> int | None:
    """Return N of the label "N particles" of a map's header, None without one."""
    path = check_readable(path)
    with _opened(path) as file:
        labels = parse_header(file.read(HEADER_SIZE), path).label
    found = [COUNT.fullmatch(bytes(label).rstrip(b" \0")) for label in np.ravel(labels)]
    return next((int(one[1]) for one in found if one is not None), None)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file, decompressing what begins as a compressed one, and tell in one line what goes wrong with it."""
    try:
        with open(path, "rb") as plain:
            start = plain.read(2)
            plain.seek(0)
            if start not in COMPRESSED:
                yield plain
                return
            with COMPRESSED[start](plain) as unpacked:
                yield unpacked
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: not a readable map ({first_line(error)}); copy the file again.") from None


def _axes(header: Any, path: Path) -> tuple[int, int, int]:
    """Return which of x, y, z (1, 2, 3) sections, rows and columns run along."""
    axes = (int(header.maps), int(header.mapr), int(header.mapc))
    if axes == (0, 0, 0):  # of programs that leave them out
        return (3, 2, 1)
    if sorted(axes) != [1, 2, 3]:
        raise DataError(
            f"{path}: mapc, mapr and maps are {axes[::-1]}; expected 1, 2 and 3 in some order. Check the file."
        )
    return axes


def _check_length(file: io.BufferedIOBase, path: Path, promised: int) -> None:
    """Refuse a file that is not compressed and not as long as its header says."""
    length = os.path.getsize(path)
    if not isinstance(file, gzip.GzipFile | bz2.BZ2File):
        if length < promised:
            raise DataError(_truncated(path, promised, length))
        if length > promised + LONGEST_TAIL:
            raise DataError(_too_long(path, promised))


def _truncated(path: Path, promised: int, found: int) -> str:
    return f"{path}: truncated: its header promises {promised} bytes, {found} are there; copy the file again."


def _too_long(path: Path, promised: int) -> str:
    return f"{path}: the file goes on beyond the {promised} bytes that its header promises; check it, or copy it again."


def _skip(file: io.BufferedIOBase, size: int) -> None:
    while size > 0 and (piece := file.read(min(size, PIECE))):
        size -= len(piece)


def _promised(file: io.BufferedIOBase, size: int, path: Path) -> bytearray:
    """Return the next `size` bytes, in memory that grows as they come."""
    data = bytearray()
    while len(data) < size:
        piece = file.read(min(size - len(data), PIECE))
        if not piece:
            raise DataError(_truncated(path, size, len(data)))
        data += piece
    return data


def _check_end(file: io.BufferedIOBase, path: Path) -> None:
    """Read to the end of the file, where a compressed one holds its check sum; a short tail is ignored."""
    tail = len(file.read(LONGEST_TAIL + 1))
    if tail > LONGEST_TAIL:
        raise DataError(_too_long(path, file.tell() - tail))
    if tail:
        logger.warning("%s: %d bytes after the map are ignored.", path, tail)
