"""The processor cores that this process may use, and work that is shared out among them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Made = TypeVar("Made")


def usable_cores() -> int:
    """Return the number of cores that the system lets this process use, where it tells, or that the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def in_threads(
    work: Callable[[int], Made], count: int, threads: int | None = None, first_alone: bool = False
) -> Iterator[Made]:
    """Yield what `work` returns for 0, 1, … count - 1, in this order, several computed at a time.

    Meanwhile products and factors of matrices have one thread each: several threads of each gain nothing on small
    matrices, and wait for one another where other programs use the cores. An error, or a reader that goes away, ends
    what was not begun.

    Parameters
    ----------
    work : that lets other threads run: NumPy's, SciPy's or a compiled program's.
    count : how often it is called.
    threads : calls at a time; None for one a core.
    first_alone : whether the others begin once the first has ended, so that what it compiles is compiled once.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        if first_alone and count > 0:
            yield work(0)
        rest = range(int(first_alone), count)
        if len(rest) > 0:
            with ThreadPoolExecutor(min(threads or usable_cores(), len(rest))) as pool:
                yield from pool.map(work, rest)


@cache
def _libraries() -> ThreadpoolController:
    """Return what limits the threads of libraries; finding these takes longer than a step of a small sample."""
    return ThreadpoolController()
