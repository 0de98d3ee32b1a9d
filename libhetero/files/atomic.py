"""Writing beside and renaming, so that no file is ever half written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from libhetero.files.errors import FREE_SOME, writing, writing_error
from libhetero.files.sets import set_holding
from libhetero.files.temporary import remove_whatever, temporary_name


@contextlib.contextmanager
def replacing(path: str | os.PathLike, remedy: str = FREE_SOME) -> Iterator[Path]:
    """Yield a free name beside `path`, for a file or a folder; rename it to `path` when the block ends well.

    The name keeps the suffix of `path`, is that of nobody else on this machine or another that writes to
    the same disk, and what bears it is removed when the block fails. Within `replacing_set` a file takes its place
    with the others of the set.

    Parameters
    ----------
    path : to make or to replace.
    remedy : for a full disk, as in `libhetero.files.errors.writing_error`.

    Raises
    ------
    DiskError : when the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    made = set_holding(path)
    beside = temporary_name(path)
    whole = False
    try:
        with writing(path, remedy):
            if made is not None:
                beside = made.place(path)
            yield beside
            if made is None:
                os.replace(beside, path)
        whole = True
    finally:
        if made is None or not whole:
            remove_whatever(beside)


def flush_to_disk(path: str | os.PathLike) -> None:
    """Wait until a file that was written lies on the disk, to survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder_to_disk(path: str | os.PathLike) -> None:
    """Wait until the names in a folder lie on the disk, where the file system can tell."""
    try:
        flush_to_disk(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def check_folder(path: str | os.PathLike) -> None:
    """Refuse a file to be written whose folder does not exist, before anything long is begun.

    Raises
    ------
    DiskError : naming the folder.
    """
    if not Path(path).resolve().parent.is_dir():
        raise writing_error(path, FileNotFoundError(errno.ENOENT, "no such folder"))
