"""A folder is made by one program at a time: who makes it holds a claim, which ends with the process.

A claim is a lock on a hidden file beside the folder, `.NAME.claim`, which goes with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from libhetero.files.lock import alone_in


@contextlib.contextmanager
def claiming() -> Iterator[Callable[[Path], bool]]:
    """Yield a function that claims a folder, which need not be there, until the block ends.

    It returns False where another program, or another such block of this one, holds a claim on it. Where the file
    system has no locks every folder can be had.
    """
    held: dict[Path, int] = {}
    made: set[Path] = set()  # folders around those, which go again where nothing is written into them

    def claim(folder: Path) -> bool:
        folder = Path(folder)
        if not folder.parent.exists():
            made.add(folder.parent)
        descriptor = _taken(folder)
        if descriptor is not None:
            held[folder] = descriptor
        return descriptor is not None

    try:
        yield claim
    finally:
        for folder, descriptor in held.items():
            _drop(folder, descriptor)
        for around in made:
            with contextlib.suppress(OSError):
                around.rmdir()


def _taken(folder: Path) -> int | None:
    """Return the open file that holds a claim on a folder; None where another holds one."""
    try:
        return _taken_now(folder)
    except FileNotFoundError:  # another block has removed the folder around, empty as it still was
        return _taken_now(folder)


def _taken_now(folder: Path) -> int | None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(folder.parent):  # so that no file is locked that another program is about to remove
        descriptor = os.open(_file(folder), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # no locks here
            pass
    return descriptor


def _drop(folder: Path, descriptor: int) -> None:
    """End a claim, and leave nothing of it."""
    with contextlib.suppress(OSError), alone_in(folder.parent):
        _file(folder).unlink(missing_ok=True)
    os.close(descriptor)


def _file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.claim")
