"""Whether there is room for what will be written."""

from __future__ import annotations

import os
import shutil

from libhetero.errors import DataError
from libhetero.telling import byte_size


def require_space(folder: str | os.PathLike, needed: int, what: str, remedy: str) -> None:
    """Refuse to begin writing where the disk has too little room.

    A program that finds out in the middle ends less readably, and may leave a file half written.

    Parameters
    ----------
    folder : an existing one, on the disk in question.
    needed : bytes.
    what : will be written.
    remedy : what the user can do, without a full stop.

    Raises
    ------
    DataError : saying what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: no space left on the disk for {what}: {byte_size(needed)} needed, "
            f"{byte_size(free)} free; {remedy}."
        )
