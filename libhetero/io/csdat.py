"""CSDAT, the stream in which cryosparc-tools saves a table when it is asked to; nothing is unpickled.

    b"\\x95CSDAT" · length of the header, uint32 · header, JSON · columns, each its length, uint32, and bytes · texts

All numbers are little-endian. The header holds `length` (rows), `dtype` (a list of [name, dtype] or [name, dtype,
shape]), `compression` (null or "lz4") and `compressed_fields`. A column of text ("|O") holds for each row where its
text begins among the texts at the end of the file, each ended by a NUL. An empty table has no columns, texts alone.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from libhetero.io.lz4_block import unpack

MAGIC = b"\x95CSDAT"
TEXT = "|O"
NUMBER = re.compile(r"[<>|=]?[biufc](1|2|4|8|16)")
MOST_AXES, LONGEST_AXIS = 3, 2**16
EXPANSION, SPARE = 64, 2**20  # a table is at most so many times as long as its file, and so many bytes


@dataclass(frozen=True)
class _Column:
    """A column as the header describes it; of a text, `kind` is that of the place where it begins."""

    name: str
    kind: np.dtype
    is_text: bool


def read_csdat(path: str | os.PathLike) -> Shaped[np.ndarray, "rows"]:
    """Return a table as a record array; its texts are UTF-8.

    Raises
    ------
    ValueError : if the file is damaged, or not of this layout.
    """
    data = Path(path).read_bytes()
    start = len(MAGIC) + 4
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    rows, described, packed = _header(json.loads(data[start:end]))
    if rows * sum(column.kind.itemsize for column in described) > EXPANSION * len(data) + SPARE:
        raise ValueError(f"{len(data)} bytes cannot hold {rows} rows")
    columns = []
    for column in described if rows else ():
        start, end = end + 4, end + 4 + int.from_bytes(data[end : end + 4], "little")
        block, size = data[start:end], rows * column.kind.itemsize
        content = unpack(block, size) if column.name in packed else block
        if len(content) != size:
            raise ValueError(f"column {column.name[:60]} holds {len(content)} bytes; {rows} rows take {size}")
        columns.append(np.frombuffer(content, column.kind.base).reshape(rows, *column.kind.shape))
    columns = columns or [np.zeros((0, *column.kind.shape), column.kind.base) for column in described]
    return _table(rows, described, columns, data[end:])


def _header(header: Any) -> tuple[int, list[_Column], set[str]]:
    """Return the rows, the columns, and the names of those that are packed."""
    if not isinstance(header, dict) or header.get("compression") not in (None, "lz4"):
        raise ValueError("its header is unknown, or its packing other than LZ4")
    rows, fields, packed = header.get("length"), header.get("dtype"), header.get("compressed_fields")
    if type(rows) is not int or rows < 0 or not isinstance(fields, list) or not isinstance(packed, list):
        raise ValueError("its header lacks length, dtype or compressed_fields")
    return rows, [_column(field) for field in fields], {name for name in packed if isinstance(name, str)}


def _column(field: Any) -> _Column:
    """Return a column of its description, [name, dtype] or [name, dtype, shape]."""
    parts = field if isinstance(field, list) else []
    name, code, shape = (*parts, []) if len(parts) == 2 else parts if len(parts) == 3 else (None, None, None)
    named = isinstance(name, str) and isinstance(code, str) and (code == TEXT or NUMBER.fullmatch(code))
    sized = isinstance(shape, list) and len(shape) <= MOST_AXES
    if not named or not sized or not all(type(n) is int and 0 < n < LONGEST_AXIS for n in shape):
        raise ValueError(f"its header describes a column as {str(field)[:60]}")
    kind = np.dtype("<u8") if code == TEXT else np.dtype((code, tuple(shape)))
    return _Column(name, kind, code == TEXT)


def _table(rows: int, described: list[_Column], columns: list[np.ndarray], texts: bytes) -> Shaped[np.ndarray, "rows"]:
    """Return the columns side by side, with the texts in their places."""
    columns = [_texts(one, texts) if said.is_text else one for said, one in zip(described, columns, strict=True)]
    names = [column.name for column in described]
    table = np.zeros(rows, [(name, one.dtype, one.shape[1:]) for name, one in zip(names, columns, strict=True)])
    for name, one in zip(names, columns, strict=True):
        table[name] = one
    return table


def _texts(place: np.ndarray, texts: bytes) -> np.ndarray:
    """Return the text that begins at each place."""
    begins, row = np.unique(place, return_inverse=True)
    found = []
    for begin in begins.tolist():
        end = texts.find(b"\0", begin)
        if end < 0:
            raise ValueError("a text begins beyond the end of the file")
        found.append(texts[begin:end])
    width = max(map(len, found), default=0)
    if len(place) * width > EXPANSION * (len(texts) + place.nbytes) + SPARE:
        raise ValueError(f"a text of {width} bytes")
    return np.array(found or [b""], f"S{max(width, 1)}")[row]
