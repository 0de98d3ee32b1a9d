"""When a checkpoint is due by the clock: a minute after the last one, but never so often that training is slowed down.

A checkpoint is due after

    max(60 s, 19 · c),      c = what the last one held training up, with the figures drawn beside it,

so that a killed run loses a minute and checkpoints take at most 5 % of the time. The clock is that of process 0. Of
several processes all must write at the same step, so process 0 says at agreed steps whether to write now or after how
many steps to ask again: half of those that fit into the time left, at the pace since the last checkpoint. That is a
few messages a minute, and none in the steps between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

from libhetero.training import sharding

SECONDS = 60.0  # between two
MOST_SHARE = 0.05  # of the time, for all of them


class CheckpointClock:
    """Tells at which steps checkpoints are due.

    Parameters
    ----------
    step : steps done before the first that is asked about.
    now : the clock, seconds.
    """

    def __init__(self, step: int, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._interval = now, SECONDS
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begin to count anew, after `step` steps."""
        self._last, self._step, self._asks = self._now(), step, step + 1

    def due(self, step: int) -> bool:
        """Return whether a checkpoint is due after `step` steps, the same in every process."""
        if step < self._asks:
            return False
        ahead = int(sharding.said_by_writer(lambda: str(self._ahead(step))))
        self._asks = step + max(ahead, 1)
        return ahead == 0

    @contextmanager
    def paid(self, step: int) -> Iterator[None]:
        """Take note of what a checkpoint after `step` steps costs, which is written inside."""
        began = self._now()
        yield
        self._interval = max(SECONDS, (1 / MOST_SHARE - 1) * (self._now() - began))
        self.restart(step)

    def _ahead(self, step: int) -> int:
        """Return after how many steps to ask again; 0 if a checkpoint is due."""
        passed = self._now() - self._last
        left = self._interval - passed
        if left <= 0:
            return 0
        if jax.process_count() == 1:
            return 1
        pace = passed / max(step - self._step, 1)  # seconds a step
        return max(int(0.5 * left / max(pace, 1e-6)), 1)
