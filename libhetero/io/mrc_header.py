"""The header of MRC files: read with its sizes checked, and made anew.

mrcfile knows the fields, the byte orders and the types of data; it is given the header alone, as it would make room for
whatever a damaged one promises.
"""

from __future__ import annotations

import io
import logging
import os
import string
import warnings
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.mrcinterpreter import MrcInterpreter

from libhetero.configuration.limits import LEAST_PIXEL, MOST_PIXEL
from libhetero.errors import DataError
from libhetero.files import first_line
from libhetero.io.kinds import kind_of_start

logger = logging.getLogger(__name__)

HEADER_SIZE = 1024  # bytes
READABLE_MODES = (0, 1, 2, 6, 12)
VOLUME_STACKS = range(401, 631)  # space groups that say so
SYMBOLS = slice(92, 96)  # where the header says how long the extended header is
PRINTABLE = frozenset(string.printable.encode())


def parse_header(data: bytes, path: str | os.PathLike) -> Any:
    """Return the header of an MRC file, a NumPy record of its fields in the file's byte order.

    Parameters
    ----------
    data : the file's first 1024 bytes, fewer if it has not as many.
    path : of the file, for messages.

    Raises
    ------
    DataError : if this is no header of an MRC file.
    """
    if data and PRINTABLE.issuperset(data):
        raise DataError(
            f"{path}: not an MRC file: it is {kind_of_start(data) or 'text'}. Give the stack or map itself."
        )
    alone = data[: SYMBOLS.start] + bytes(4) + data[SYMBOLS.stop :]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = MrcInterpreter(io.BytesIO(alone), permissive=True, header_only=True).header.copy()
    except (ValueError, OSError) as error:
        kind = kind_of_start(data)
        reason = (
            f": it is {kind}. Give the stack or map itself." if kind else f" ({first_line(error)}); check the file."
        )
        raise DataError(f"{path}: not an MRC file{reason}") from None
    header = header.view(np.recarray) if not hasattr(header, "nx") else header
    header["nsymbt"] = np.frombuffer(data[SYMBOLS], header.nsymbt.dtype)[0]
    if min(int(header.nx), int(header.ny), int(header.nz)) < 1:
        raise DataError(f"{path}: not an MRC file (its header holds no valid size); check the file.")
    if int(header.nsymbt) < 0:
        raise DataError(f"{path}: not an MRC file (an extended header of {int(header.nsymbt)} bytes); check the file.")
    return header


def check_mode(header: Any, path: str | os.PathLike) -> None:
    """Refuse data that are not images or maps of real numbers.

    Raises
    ------
    DataError : for another mode than those of `READABLE_MODES`.
    """
    mode = int(header.mode)
    if mode not in READABLE_MODES:
        raise DataError(
            f"{path}: MRC mode {mode} is not images; expected one of {READABLE_MODES}. Convert it to mode 2 (float32)."
        )
    if mode == 0:
        logger.warning("%s: mode 0 is read as signed bytes; some programs write unsigned.", path)


def header_pixel_size(header: Any) -> float:
    """Return cella.x / mx in Å, or 0 when that is no sensible pixel size."""
    mx, length = int(header.mx), float(header.cella.x)
    size = length / mx if mx > 0 else 0.0
    return size if np.isfinite(size) and LEAST_PIXEL <= size <= MOST_PIXEL else 0.0


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
