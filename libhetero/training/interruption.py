"""Stopping between two steps when the system asks for it, as Slurm does before preemption."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils

from libhetero.errors import TERMINATED

LOGGER = logging.getLogger(__name__)


class StopRequest:
    """Notices SIGTERM while it is entered, so that a checkpoint can be written first.

    Before the first step there is nothing new to write and a compilation may take minutes: the process then
    ends at once, from a thread, for signal handlers of Python wait until the compiler returns. With
    several processes JAX notices the signal and shares the decision, so that all stop after the same step.
    """

    def __init__(self) -> None:
        self._seen, self._began = False, False
        self._previous: Any = None
        self._pipe: tuple[int, int] | None = None

    def __enter__(self) -> StopRequest:
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._notice)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is not None:
            signal.signal(signal.SIGTERM, self._previous)
            signal.set_wakeup_fd(-1)
            os.close(self._pipe[1])  # the thread reads the end and closes its own

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._seen = True

    def _watch(self, descriptor: int) -> None:
        """Read the numbers of arriving signals, which come here even while the main thread compiles."""
        while found := os.read(descriptor, 1):
            if found[0] == signal.SIGTERM and not self._began:
                LOGGER.error(
                    "stopped as the system asked, before the first step; go on with --resume or the same command"
                )
                sys.stdout.flush()
                os._exit(TERMINATED)
        os.close(descriptor)

    def after(self, step: int) -> bool:
        """Return whether to stop now, after `step` steps."""
        self._began = True
        if jax.process_count() > 1 and not self._seen:
            self._seen = multihost_utils.reached_preemption_sync_point(step)  # true at one step only
        return self._seen
