"""Whether what a file's header promises could be held at all, asked before room is made for it."""

from __future__ import annotations

from libhetero.errors import DataError
from libhetero.files.memory import free_memory

SMALL = 2**26  # bytes, of which no machine is asked


def check_fits(size: int, where: str) -> None:
    """Refuse to read more than half of the memory that is free: numbers are held twice while they become float32.

    Parameters
    ----------
    size : bytes, as a header promises.
    where : file, and what in it, for the message.

    Raises
    ------
    DataError : saying what is promised and what is free.
    """
    free = free_memory() if size > SMALL else None
    if free is not None and 2 * size > free:
        raise DataError(
            f"{where}: its header promises {size / 2**30:.1f} GiB, this computer has {free / 2**30:.1f} GiB free; "
            "expected at most half of that. Bin it, or check the file."
        )
