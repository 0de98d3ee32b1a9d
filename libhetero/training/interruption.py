"""Stopping between two steps when the system asks for it, as Slurm does before preemption."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Notices SIGTERM while it is entered, so that a checkpoint can be written first.

    With several processes the decision is shared, so that all stop after the same step.
    """

    def __init__(self) -> None:
        self._seen = False
        self._previous = None

    def __enter__(self) -> StopRequest:
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._seen = True

    def after(self, step: int) -> bool:
        """Return whether to stop now, after `step` steps."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._seen
