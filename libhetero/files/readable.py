"""Whether what a user named is a file that can be read: asked at every door before anything is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from libhetero.errors import DataError
from libhetero.files.errors import describe_os_error

START = 512  # bytes looked at
NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe, which cannot be read twice"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def check_readable(path: str | os.PathLike) -> Path:
    """Return `path` if it is a file with contents of its own.

    Nothing but a regular file is ever opened: a pipe would wait for its writer, and a device may have no end.

    Raises
    ------
    DataError : if it is missing, no file (a folder, pipe, socket or device), empty, unreadable, a Git LFS pointer, or a
        web page in place of what should have been downloaded.
    """
    path = Path(path)
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        raise DataError(f"{path}: no such file; check the name.") from None
    except OSError as error:
        raise DataError(f"{path}: {_reason(error)}") from None
    for is_one, what in NO_FILES:
        if is_one(found.st_mode):
            raise DataError(f"{path}: expected a file, found {what}. Give a file on a disk.")
    if found.st_size == 0:  # also what is no file on a disk though it looks like one, as in /proc
        raise DataError(f"{path}: the file is empty; copy it again.")
    _check_start(path)
    return path


def _check_start(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            start = file.read(START)
    except OSError as error:
        raise DataError(f"{path}: {_reason(error)}") from None
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: this is a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'.")
    if start.removeprefix(BYTE_ORDER_MARK).lstrip().lower().startswith(WEB_PAGE):
        raise DataError(
            f"{path}: this is a web page, not the file itself: what was downloaded tells of an error or asks for a "
            "login. Download the file again."
        )


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "you may not read this file; check its permissions."
    error.filename = None
    return describe_os_error(error)
