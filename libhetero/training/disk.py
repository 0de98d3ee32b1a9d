"""A disk that is full or cannot be written, in one line."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libhetero.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_TEXTS = ("No space left", "quota exceeded")


@contextmanager
def named_disk_errors(place: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong in writing `what` to `place` into a `DataError` of one line.

    Orbax writes arrays through TensorStore, whose errors are a ValueError with the system's text.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in FULL or any(text in str(error) for text in FULL_TEXTS):
            raise DataError(f"no space left on the disk of {place}; free some and go on with --resume.") from error
        if isinstance(error, OSError) or "os_error_code" in str(error):
            raise DataError(f"{place}: cannot write {what} ({first_line(error)}); check the folder.") from error
        raise


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin writing `needed` bytes where the disk has fewer.

    A thread that writes may end less readably, and with its file half written.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"no space left on the disk of {folder}: {what} needs {needed / 2**20:.3g} MiB, {free / 2**20:.3g} MiB "
            "are free; free some and go on with --resume."
        )


def first_line(error: BaseException) -> str:
    """Return the first 200 characters of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
