"""Reading pieces of a file at given places, from any number of threads at once.

`preadv` moves no file position and fills the caller's buffers directly. A memory map would do without the
copy, but its pages count as the process's own memory until the system takes them back, and a file that is
cut short while it is mapped kills the process (SIGBUS) where a read comes back short.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

MOST_BUFFERS = 512  # one call; the system's limit is 1024 or more


def read_into(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
    """Fill buffers one after the other from `offset` on, and return the bytes that were read.

    Fewer than the buffers hold means that the file ends there.

    Parameters
    ----------
    descriptor : of a file open for reading.
    buffers : writable bytes.
    offset : bytes from the start of the file.

    Raises
    ------
    OSError : when the system cannot read.
    """
    left = [memoryview(buffer).cast("B") for buffer in buffers]
    total = 0
    while left:
        count = os.preadv(descriptor, left[:MOST_BUFFERS], offset + total)
        if count == 0:
            break
        total += count
        left = _after(left, count)
    return total


def _after(buffers: list[memoryview], count: int) -> list[memoryview]:
    """Return what is left to fill once `count` bytes have come."""
    done = 0
    while done < len(buffers) and count >= len(buffers[done]):
        count -= len(buffers[done])
        done += 1
    rest = buffers[done:]
    if count:
        rest[0] = rest[0][count:]
    return rest
