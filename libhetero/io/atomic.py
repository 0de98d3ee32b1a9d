"""Writing beside and renaming, so that no file is ever half written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from libhetero.errors import DataError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary file keeps the suffix of `path`, and is removed when the block fails. Its name is that
    of nobody else, on this machine or another that writes to the same disk.

    Raises
    ------
    DataError : when the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem[:200]}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise writing_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


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
    DataError : naming the folder.
    """
    if not Path(path).resolve().parent.is_dir():
        raise writing_error(path, FileNotFoundError(errno.ENOENT, "no such folder"))


def writing_error(path: str | os.PathLike, error: OSError) -> DataError:
    """Turn an operating-system error into the one line a user can act on."""
    folder = Path(path).absolute().parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return DataError(f"{path}: no space left on {folder}; free some and run again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DataError(f"{path}: {folder} is not writable; choose another folder.")
    if not folder.is_dir():
        return DataError(f"{path}: the folder {folder} does not exist; make it first.")
    return DataError(f"{path}: could not be written ({error}).")
