"""Whether what a file's header promises could be held at all, asked before room is made for it."""

from __future__ import annotations

import os

from libhetero.errors import DataError


def check_fits(size: int, where: str) -> None:
    """Refuse to read more than this computer's memory.

    Parameters
    ----------
    size : bytes, as a header promises.
    where : file, and what in it, for the message.

    Raises
    ------
    DataError : if `size` is more than half of the memory that is built in: numbers are held twice while they become
        float32.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 2 * size > memory:
        raise DataError(
            f"{where}: its header promises {size / 2**30:.1f} GiB, this computer has {memory / 2**30:.1f} GiB; "
            "expected at most half of that. Bin it, or check the file."
        )
