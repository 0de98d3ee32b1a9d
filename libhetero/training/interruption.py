"""Stopping between two steps when the user (Ctrl-C) or the system asks for it, as Slurm does before preemption."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils

from libhetero.errors import INTERRUPTED, TERMINATED
from libhetero.telling.progress import say

LOGGER = logging.getLogger(__name__)
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a queue, a terminal that is closed
ONE_PRESS = 0.3  # seconds within which Ctrl-C may come twice, from the terminal and from a program that hands it on


class StopRequest:
    """Notices `ASKING` while it is entered, so that a checkpoint can be written first; a second Ctrl-C ends at once.

    Before the first step there is nothing new to write and a compilation may take minutes: the process then
    ends at once. That, and what a second Ctrl-C does, is done by a thread, for signal handlers of Python wait until
    the compiler returns. With several processes JAX notices SIGTERM and shares the decision, so that all stop after
    the same step; the other signals are handed on to it as that. Signals that are ignored, as `nohup` has it, stay so.
    A second SIGTERM asks for no more than the first: queues send it to a process and to its parent, which hands it on.
    """

    def __init__(self) -> None:
        self.interrupted = False  # asked by Ctrl-C
        self._seen, self._began = False, False
        self._previous: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            left_to_jax = () if jax.process_count() == 1 else (signal.SIGTERM,)
            for number in ASKING:
                if number not in left_to_jax and signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._notice)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is not None:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
            os.close(self._pipe[1])  # the thread reads the end and closes its own

    def _notice(self, number: int, frame: FrameType | None) -> None:
        """Note the first request; of several processes, all note it at one step (`after`)."""
        self.interrupted = self.interrupted or (number == signal.SIGINT and not self._seen)
        self._seen = self._seen or jax.process_count() == 1

    def _watch(self, descriptor: int) -> None:
        """Read the numbers of arriving signals, which come here even while the main thread compiles."""
        asked: float | None = None
        while found := os.read(descriptor, 1):
            number, now = found[0], time.monotonic()
            if number not in self._previous:
                continue
            if asked is None:
                asked = now
                self._ask(number)
            elif number == signal.SIGINT and now - asked > ONE_PRESS:
                _leave(INTERRUPTED, "ended at once; the last checkpoint stands, go on from it with --resume")
        os.close(descriptor)

    def _ask(self, number: int) -> None:
        """Answer the first request."""
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self._began:
            code, who = (INTERRUPTED, "by Ctrl-C") if number == signal.SIGINT else (TERMINATED, "as the system asked")
            _leave(code, f"stopped {who}, before the first step; go on with --resume or the same command")
        say("stopping after this step, with a checkpoint; Ctrl-C once more ends at once")

    def after(self, step: int) -> bool:
        """Return whether to stop now, after `step` steps."""
        self._began = True
        if jax.process_count() > 1 and not self._seen:
            self._seen = multihost_utils.reached_preemption_sync_point(step)  # true at one step only
        return self._seen


def _leave(code: int, why: str) -> None:
    """End this process from any thread, whatever the main one is at, with one line."""
    LOGGER.error(why)
    sys.stdout.flush()
    os._exit(code)
