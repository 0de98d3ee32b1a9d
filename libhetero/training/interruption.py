"""Stopping between two steps when the user (Ctrl-C) or the system asks for it, as Slurm does before preemption."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils

from libhetero.errors import INTERRUPTED, TERMINATED, StoppedEarly
from libhetero.telling.progress import say
from libhetero.training.checkpoint import last_step

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

    Parameters
    ----------
    folder : run folder, whose checkpoints the line names that ends the process at once; None before there is one.
    go_on : how to go on, as that line names it.
    """

    def __init__(self, folder: Path | None = None, go_on: str = "the same command") -> None:
        self.interrupted = False  # asked by Ctrl-C
        self._folder, self._go_on = folder, go_on
        self._seen, self._done = False, -1  # steps done; -1 before the first
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
                _leave(INTERRUPTED, self._stands("ended at once"))
        os.close(descriptor)

    def _ask(self, number: int) -> None:
        """Answer the first request."""
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._done < 0:
            who, code = who_asked(number == signal.SIGINT)
            _leave(code, self._stands(f"stopped {who}, before the first step"))
        say("stopping after this step, with a checkpoint; Ctrl-C once more ends at once")

    def after(self, step: int) -> bool:
        """Return whether to stop now, after `step` steps."""
        self._done = step
        if jax.process_count() > 1 and not self._seen:
            self._seen = multihost_utils.reached_preemption_sync_point(step)  # true at one step only
        return self._seen

    def _stands(self, how: str) -> str:
        """Return one line on how the process ends, what is kept of the run, and how to go on."""
        kept = None if self._folder is None else last_step(self._folder / "checkpoints")
        if self._folder is None or kept is None:
            return f"{how}. Go on with {self._go_on}."
        lost = self._done - kept
        after = f", the {lost} step(s) after it are lost" if lost > 0 else ""
        return f"{self._folder}: {how}; the checkpoint of step {kept} is kept{after}. Go on with {self._go_on}."


class _Asked(KeyboardInterrupt):
    """The system or the user asked, by this signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopped_early(kept: Callable[[], str]) -> Iterator[None]:
    """Turn what asks to stop into one line, where no step of training is to be finished first.

    Work is left at once, as Ctrl-C leaves it; whoever trains within has signals to himself meanwhile (`StopRequest`).
    Of several processes JAX keeps SIGTERM. Signals that are ignored stay so.

    Parameters
    ----------
    kept : returns what is kept and how to go on, once work has been left.

    Raises
    ------
    StoppedEarly : "stopped by Ctrl-C; " or "stopped as the system asked; ", and what `kept` says.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        raise _Asked(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        left_to_jax = () if jax.process_count() == 1 else (signal.SIGTERM,)
        heard = [number for number in ASKING if number not in left_to_jax]
        before = {number: signal.getsignal(number) for number in heard}
        before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, ask)
        yield
    except KeyboardInterrupt as asked:
        who, code = who_asked(not isinstance(asked, _Asked) or asked.number == signal.SIGINT)
        raise StoppedEarly(f"stopped {who}; {kept()}", code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def who_asked(by_user: bool) -> tuple[str, int]:
    """Return who asked to stop, in words, and the exit code that says so.

    Parameters
    ----------
    by_user : whether it was by Ctrl-C.
    """
    return ("by Ctrl-C", INTERRUPTED) if by_user else ("as the system asked", TERMINATED)


def _leave(code: int, why: str) -> None:
    """End this process from any thread, whatever the main one is at, with one line."""
    LOGGER.error(why)
    sys.stdout.flush()
    os._exit(code)
