"""Arrays in .npz and .npy files, read by a declared schema: names, kinds, shapes and limits, before any is used.

The headers are read first, and an array of another kind or shape than declared, or larger than what its file can
hold, is refused before memory is taken for it. Nothing is unpickled.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from io import BufferedIOBase
from typing import cast

import numpy as np

from libhetero.configuration import ArraySchema
from libhetero.errors import DataError
from libhetero.files import check_readable, first_line

LARGEST = 2**30  # bytes of all arrays of a file
KINDS = {"float": "f", "int": "iu", "bool": "biuf"}  # NumPy's letters
WORDS = {"float": "numbers", "int": "whole numbers", "bool": "numbers 0 or 1"}
DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    RecursionError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: str | os.PathLike, schema: Mapping[str, ArraySchema], remedy: str, *, largest: int = LARGEST
) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file that a schema declares; others are left alone.

    Parameters
    ----------
    schema : by name.
    remedy : what the user can do about a damaged file, a sentence without its full stop.
    largest : bytes that they may take together.

    Raises
    ------
    DataError : if one is missing or is not as declared, naming it, what was expected and what was found.
    """
    check_readable(path)
    lengths: dict[str, int] = {}
    try:
        with zipfile.ZipFile(path) as file:
            held = {name.removesuffix(".npy"): name for name in file.namelist()}
            wanted = [name for name, said in schema.items() if name in held or not said.optional]
            lacking = [name for name in wanted if name not in held]
            if lacking:
                raise DataError(f"{path}: lacks {', '.join(lacking)}; {remedy}.")
            total = sum(file.getinfo(held[name]).file_size for name in wanted)
            if total > largest:
                raise DataError(f"{path}: arrays of {total} bytes; expected at most {largest}. {_sentence(remedy)}")
            for name in wanted:
                with file.open(held[name]) as stream:
                    size = file.getinfo(held[name]).file_size
                    _check_header(cast(BufferedIOBase, stream), size, f"{path}: {name}", schema[name], lengths, remedy)
            found = {}
            for name in wanted:
                with file.open(held[name]) as stream:
                    found[name] = _native(np.lib.format.read_array(stream, allow_pickle=False))
    except DAMAGED as error:
        raise _damaged(path, error, remedy) from error
    for name, array in found.items():
        _check_values(array, f"{path}: {name}", schema[name], lengths, remedy)
    return found


def read_array(path: str | os.PathLike, said: ArraySchema, remedy: str) -> np.ndarray:
    """Read an .npy file; see `read_arrays`."""
    check_readable(path)
    lengths: dict[str, int] = {}
    try:
        with open(path, "rb") as stream:
            _check_header(stream, os.path.getsize(path), str(path), said, lengths, remedy)
            stream.seek(0)
            array = _native(np.lib.format.read_array(stream, allow_pickle=False))
    except DAMAGED as error:
        raise _damaged(path, error, remedy) from error
    _check_values(array, str(path), said, lengths, remedy)
    return array


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array in this machine's order of bytes, the only one that JAX takes."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def array_names(path: str | os.PathLike, remedy: str) -> list[str]:
    """Return the names of the arrays of an .npz file, for a schema that depends on them."""
    check_readable(path)
    try:
        with zipfile.ZipFile(path) as file:
            return [name.removesuffix(".npy") for name in file.namelist()]
    except DAMAGED as error:
        raise _damaged(path, error, remedy) from error


def _damaged(path: str | os.PathLike, error: BaseException, remedy: str) -> DataError:
    said = first_line(error)
    reason = "its header describes no array" if "malformed node" in said else said  # in Python's words
    return DataError(f"{path}: damaged ({reason}); {remedy}.")


def _sentence(remedy: str) -> str:
    return f"{remedy[:1].upper()}{remedy[1:]}."


def _check_header(
    stream: BufferedIOBase, size: int, where: str, said: ArraySchema, lengths: dict[str, int], remedy: str
) -> None:
    """Refuse an array by what its header says; lengths that the schema names are taken from the first that has them."""
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format")
    shape, _, dtype = read(stream)
    for length, expected in zip(shape, said.shape, strict=False):
        if isinstance(expected, str):
            lengths.setdefault(expected, length)
    wanted = tuple(lengths.get(item, -1) if isinstance(item, str) else item for item in said.shape)
    if dtype.kind not in KINDS[said.kind] or tuple(shape) != wanted:
        words = ", ".join(f"{item} = {lengths[item]}" if item in lengths else str(item) for item in said.shape)
        expected = f"{WORDS[said.kind]} of shape ({words})" if said.shape else f"one of {WORDS[said.kind]}"
        raise DataError(f"{where}: expected {expected}, got {dtype} of shape {tuple(shape)}; {remedy}.")
    claimed = int(np.prod([int(length) for length in shape], dtype=object)) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed > size:
        raise DataError(f"{where}: claims {claimed} bytes, of which the file has {size}; {remedy}.")


def _check_values(array: np.ndarray, where: str, said: ArraySchema, lengths: dict[str, int], remedy: str) -> None:
    if array.size == 0:
        return
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(f"{where}: the number at {place} is not finite; {remedy}.")
    below = lengths[said.below] if isinstance(said.below, str) else said.below
    least = 0 if said.kind == "bool" else said.least
    most = 1 if said.kind == "bool" else None
    lowest, highest = array.min(), array.max()
    if least is not None and lowest < least:
        raise DataError(f"{where}: holds {lowest}; expected {least:g} or more, {remedy}.")
    if (below is not None and highest >= below) or (most is not None and highest > most):
        limit = f"at most {most}" if most is not None else f"less than {below:g}"
        raise DataError(f"{where}: holds {highest}; expected {limit}, {remedy}.")
