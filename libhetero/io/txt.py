"""A .txt list of stacks, one a line: all images of each, in that order (as cryoDRGN reads it)."""

from __future__ import annotations

import os

import numpy as np

from libhetero.errors import DataError
from libhetero.files import check_readable
from libhetero.io.entries import Entries
from libhetero.io.images import open_stack
from libhetero.io.kinds import kind_of
from libhetero.io.paths import resolve_path
from libhetero.records import SourceTable


def read_txt(path: str | os.PathLike, datadir: str | os.PathLike | None = None) -> Entries:
    """List every image of every stack named.

    Raises
    ------
    DataError : for a line that is no stack name, or a stack that is not there.
    """
    names = _names(path)
    counts = []
    for name in names:
        stack = open_stack(resolve_path(name, path, datadir))
        counts.append(stack.count)
        stack.close()
    name_id = np.repeat(np.arange(len(names)), counts)
    index = np.concatenate([np.arange(count) for count in counts] or [np.zeros(0, np.int64)])
    return Entries(
        names=names,
        name_id=name_id,
        image_index=index,
        source=SourceTable("txt", str(path), np.arange(len(index))),
        box_size=np.zeros(len(index), np.int64),
        pixel_size=np.full(len(index), np.nan),
    )


def _names(path: str | os.PathLike) -> tuple[str, ...]:
    check_readable(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = tuple(line.strip() for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x}), the encoding expected of a list of stacks; "
            f"convert the file, as with iconv -f latin1 -t utf-8."
        ) from None
    kind = kind_of(path)
    if kind is not None:
        raise DataError(f"{path}: {kind}; expected a list of stacks, the name of one a line. Give a particle list.")
    for name in names:
        if not name.isprintable() or name[0] in "#{":
            raise DataError(f"{path}: {name[:40]!r} is no stack name; expected one stack a line.")
    return names
