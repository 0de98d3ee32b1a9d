"""Stopping between two steps when the user (Ctrl-C) or the system asks for it, as Slurm does before preemption."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils

from libhetero.errors import INTERRUPTED
from libhetero.telling.progress import say
from libhetero.telling.stopping import ASKING, ONE_PRESS, Hearing, leave, who_asked
from libhetero.training.checkpoint import last_step


def heard_by_jax() -> tuple[int, ...]:
    """Return the signals that JAX hears: of several processes SIGTERM, so that all stop after the same step."""
    return () if jax.process_count() == 1 else (signal.SIGTERM,)


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
        self._asked: float | None = None  # when
        self._hearing: Hearing | None = None

    def __enter__(self) -> StopRequest:
        self._hearing = Hearing(set(ASKING) - set(heard_by_jax()), self._notice, self._arrived)
        self._hearing.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hearing is not None:
            self._hearing.__exit__(kind, error, trace)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        """Note the first request; of several processes, all note it at one step (`after`)."""
        self.interrupted = self.interrupted or (number == signal.SIGINT and not self._seen)
        self._seen = self._seen or jax.process_count() == 1

    def _arrived(self, number: int) -> None:
        """Answer a signal, in a thread."""
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            self._ask(number)
        elif number == signal.SIGINT and now - self._asked > ONE_PRESS:
            leave(INTERRUPTED, self._stands("ended at once"))

    def _ask(self, number: int) -> None:
        """Answer the first request."""
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._done < 0:
            who, code = who_asked(number == signal.SIGINT)
            leave(code, self._stands(f"stopped {who}, before the first step"))
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
