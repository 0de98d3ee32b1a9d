"""Progress of long loops: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 5.0


def tracked(
    blocks: Iterable[Any],
    total: int,
    what: str,
    size: Callable[[Any], int] = len,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Any]:
    """Yield blocks, showing how many particles have passed, the rate and the time left.

    Parameters
    ----------
    blocks : what to pass on.
    total : particles in all blocks together.
    what : a few words, such as "decoding".
    size : particles of one block.
    progress : called with the fraction done.
    """
    start = shown = time.monotonic()
    done = before = 0
    on_terminal = sys.stderr.isatty() and LOGGER.isEnabledFor(logging.INFO)
    bar = tqdm(total=total, desc=what, unit="particle", disable=not on_terminal, leave=False)
    with bar:
        for block in blocks:
            yield block
            done += size(block)
            bar.update(size(block))
            if progress is not None:
                progress(done / max(total, 1))
            now = time.monotonic()
            if before == 0:  # the first block compiles: rates are measured from its end
                start, before = now, done
            elif not on_terminal and now - shown > SECONDS_BETWEEN_LINES:
                shown, rate = now, (done - before) / max(now - start, 1e-9)
                LOGGER.info(
                    "%s %d/%d, %.0f a second, %.0f s left", what, done, total, rate, (total - done) / max(rate, 1e-9)
                )
