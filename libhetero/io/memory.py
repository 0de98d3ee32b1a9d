"""Whether what a file's header promises could be held at all, asked before room is made for it."""

from __future__ import annotations

from libhetero.errors import DataError
from libhetero.files import require_memory

SMALL = 2**26  # bytes, of which no machine is asked


def check_promised(size: int, where: str) -> None:
    """Refuse to read more than half of the memory that is free: numbers are held twice while they become float32.

    Parameters
    ----------
    size : bytes, as a header promises.
    where : file, and what in it, for the message.

    Raises
    ------
    DataError : saying what is promised, needed and free.
    """
    if size > SMALL:
        what = f"{where}: its header promises {size / 2**30:.3g} GiB"
        require_memory(2 * size, what, "bin it, or check the file", DataError)
