"""Locks on files, so that two processes do not write one set: they end with the process that holds them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FileLock:
    """A lock on a file that exists.

    Parameters
    ----------
    descriptor : of the open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.works = True  # False once the file system has turned out to have no locks

    def take(self, shared: bool = False) -> bool:
        """Take the lock, or change its kind, without waiting; return whether it is held.

        Parameters
        ----------
        shared : True to let others share it.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self.works = False
            logger.warning("this file system has no locks: start no second process on this set.")
        return True

    def drop(self) -> None:
        """Let go of the lock."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[FileLock]:
    """Open a file to be locked, made if there is none; the lock is dropped in the end."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield FileLock(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone_in(folder: str | os.PathLike) -> Iterator[None]:
    """Wait for the lock of a folder and hold it, for what takes a moment; without, where there are no such locks.

    It leaves no file behind.

    Raises
    ------
    OSError : if there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
