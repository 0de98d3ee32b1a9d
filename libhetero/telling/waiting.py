"""Work that cannot say how far it is says at least that it goes on.

UMAP of 50000 particles: 20 s so far
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from libhetero.telling.amounts import duration

FIRST, LONGEST = 10.0, 60.0  # seconds before the first line, and between two at most


@contextmanager
def working(say: Callable[[str], object], what: str) -> Iterator[None]:
    """Say what goes on while the block works: after ten seconds, then twice as long each time, up to a minute.

    Parameters
    ----------
    say : takes a line, as `LOGGER.info` does.
    what : "UMAP of 5000 particles".
    """
    done, start = threading.Event(), time.monotonic()

    def tell() -> None:
        pause = FIRST
        while not done.wait(pause):
            said = time.monotonic() - start
            say(f"{what}: {duration(round(said))} so far")
            pause = min(said, LONGEST)

    teller = threading.Thread(target=tell, name="working", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
