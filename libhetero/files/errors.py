"""The one line that an operating-system error becomes: which file, what is wrong, and the remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libhetero.errors import DataError

FREE_SOME = "free some and run again"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = ("No space left", "quota exceeded")
_LIMITS = (errno.EFBIG, errno.EMFILE, errno.ENAMETOOLONG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MEANINGS = {  # of an error number: what it says of a file, and the remedy
    errno.ENOENT: ("no such file or folder", "check the name, and the folder the program runs in"),
    errno.EACCES: ("permission denied", "change its permissions, or choose another place"),
    errno.EPERM: ("permission denied", "change its permissions, or choose another place"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
    errno.ENOSPC: ("no space left on the disk", f"{FREE_SOME}, or write elsewhere"),
    errno.EDQUOT: ("no space left on the disk, the quota is used up", f"{FREE_SOME}, or write elsewhere"),
    errno.EISDIR: ("is a folder, expected a file", "check the name"),
    errno.ENOTDIR: ("a part of this path is a file, expected a folder", "check the name"),
    errno.EEXIST: ("exists already", "remove it, or choose another name"),
    errno.EMFILE: ("too many open files", "raise the limit with ulimit -n"),
    errno.EFBIG: ("the file would be larger than is allowed", "raise the limit with ulimit -f, or write elsewhere"),
    errno.ENAMETOOLONG: ("the file name is too long", "choose a shorter one"),
}


class DiskError(DataError):
    """A file could not be written: the disk is full, read-only, or gone."""


def describe_os_error(error: OSError) -> str:
    """Return the line for an error that nobody named on the way: its own file, meaning and remedy."""
    place = error.filename if error.filename2 is None else error.filename2
    meaning, remedy = _MEANINGS.get(error.errno or 0, (error.strerror or str(error) or type(error).__name__, ""))
    line = f"{meaning}; {remedy}." if remedy else f"{meaning}."
    return line if place is None else f"{os.fsdecode(place)}: {line}"


def writing_error(path: str | os.PathLike, error: BaseException, remedy: str = FREE_SOME) -> DiskError:
    """Return the line for an error in writing a file.

    Parameters
    ----------
    path : what was being written, by the name that the user knows.
    error : what the system raised, or a library in its place.
    remedy : for a full disk, without a full stop.
    """
    folder = Path(path).absolute().parent
    number = getattr(error, "errno", None)
    if number in _FULL or any(text in str(error) for text in _FULL_TEXTS):
        return DiskError(f"{path}: no space left on the disk; {remedy}.")
    if number in _DENIED:
        return DiskError(f"{path}: {folder} is not writable ({_MEANINGS[number][0]}); choose another folder.")
    if not folder.is_dir():
        return DiskError(f"{path}: the folder {folder} does not exist; make it first.")
    if number in _LIMITS:
        return DiskError(f"{path}: {'; '.join(_MEANINGS[number])}.")
    return DiskError(f"{path}: could not be written ({first_line(error)}); check the folder.")


@contextmanager
def writing(path: str | os.PathLike, remedy: str = FREE_SOME) -> Iterator[None]:
    """Name `path` in what goes wrong with the disk inside; the outermost of several such names is told.

    Parameters
    ----------
    path, remedy : as in `writing_error`.

    Raises
    ------
    DiskError : for an error of the system. TensorStore, with which Orbax writes arrays, raises these as
        a ValueError with the system's text; any other passes.
    """
    try:
        yield
    except DiskError as error:
        raise writing_error(path, error.__cause__ or error, remedy) from error.__cause__
    except OSError as error:
        raise writing_error(path, error, remedy) from error
    except ValueError as error:
        if "os_error_code" in str(error) or any(text in str(error) for text in _FULL_TEXTS):
            raise writing_error(path, error, remedy) from error
        raise


def first_line(error: BaseException) -> str:
    """Return the first 200 characters of what an error says, of the system's without its number."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:200]
