"""The processor cores that this process may use, and work that is shared out among them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

THREADS = "NPROC"  # the variable by which XLA is told, as by --threads, how many threads to have
AHEAD = 2  # calls for each thread that are computed, or wait to be, before what the first of them found is read

Made = TypeVar("Made")


def usable_cores() -> int:
    """Return the number of cores that the system lets this process use, or of its threads, where these were limited.

    Cores are those that the system tells, as a queue's or taskset's share, or else all of the machine.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    asked = os.environ.get(THREADS, "")
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores


def in_threads(
    work: Callable[[int], Made], count: int, threads: int | None = None, first_alone: bool = False
) -> Iterator[Made]:
    """Yield what `work` returns for 0, 1, … count - 1, in this order, several computed at a time.

    From the first to the last of them, products and factors of matrices have one thread each: several threads of each
    gain nothing on small matrices, and wait for one another where other programs use the cores. An error, or a reader
    that goes away, ends what was not begun. Little is computed beyond what has been read.

    Parameters
    ----------
    work : that lets other threads run: NumPy's, SciPy's or a compiled program's.
    count : how often it is called.
    threads : calls at a time; None for one a core.
    first_alone : whether the others begin once the first has ended, so that what it compiles is compiled once.
    """
    with _one_thread_each():
        if first_alone and count > 0:
            yield work(0)
        rest = range(int(first_alone), count)
        many = min(threads or usable_cores(), len(rest))
        if many <= 1:  # nothing runs beside the reader
            yield from map(work, rest)
            return
        with ThreadPoolExecutor(many) as pool:
            begun: deque[Future[Made]] = deque()
            try:
                for number in rest:
                    begun.append(pool.submit(work, number))
                    if len(begun) == AHEAD * many:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                for one in begun:
                    one.cancel()


_lock = threading.Lock()
_limits: list[Any] = []  # the limit that holds, and once more for each use beyond the first


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Give linear algebra one thread as long as any use is within, in whatever order they end."""
    with _lock:
        _limits.append(_limits[0] if _limits else _libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            last = _limits.pop()
            if not _limits:
                last.restore_original_limits()


@cache
def _libraries() -> ThreadpoolController:
    """Return what limits the threads of libraries; finding these takes longer than a step of a small sample."""
    return ThreadpoolController()
