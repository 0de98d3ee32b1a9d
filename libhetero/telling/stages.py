"""Stages of long work: what begins, and how long it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from libhetero.telling.amounts import duration


@contextmanager
def timed(logger: logging.Logger, what: str) -> Iterator[None]:
    """Say what begins, and how long it took.

    Parameters
    ----------
    logger : of the module at work.
    what : "2/5 regions of Gaussians".
    """
    logger.info("%s …", what)
    start = time.monotonic()
    yield
    logger.info("%s: %s", what, duration(time.monotonic() - start))
