"""What asks a program to stop: the user (Ctrl-C), the system (SIGTERM), or a terminal that is closed (SIGHUP).

Handlers of Python wait until native code returns, which may take minutes where something is compiled, so that a thread
hears of the signals as well.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import Any

from libhetero.errors import INTERRUPTED, TERMINATED, StoppedEarly

LOGGER = logging.getLogger(__name__)
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a queue, a terminal that is closed
ONE_PRESS = 0.3  # seconds within which Ctrl-C may come twice, from the terminal and from a program that hands it on
PATIENCE = 5.0  # seconds in which native code has to return once it is asked to stop
IN_ORDER = 20.0  # seconds in which work that is left can put its files in order, however often it is asked to stop

_before_leaving: list[Callable[[], object]] = []


class Asked(KeyboardInterrupt):
    """The system or the user asked, by this signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Hearing:
    """Handles signals while it is entered, in the main thread, and tells of each from a thread of its own.

    Signals that are ignored, as `nohup` has it, stay so. What was done of signals before is done again afterwards.

    Parameters
    ----------
    numbers : of the signals.
    handle : called in the main thread as a handler of Python, once it can be.
    arrived : called in the thread with a signal's number as soon as it is there.
    """

    def __init__(
        self, numbers: Iterable[int], handle: Callable[[int, FrameType | None], None], arrived: Callable[[int], None]
    ) -> None:
        self._numbers, self._handle, self._arrived = tuple(numbers), handle, arrived
        self._previous: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._outer = -1  # descriptor that heard of signals before

    def __enter__(self) -> Hearing:
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handle)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._outer = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(self._pipe[0],), name="signals", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is not None:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._outer, warn_on_full_buffer=False)
            os.close(self._pipe[1])  # the thread reads the end and closes its own

    def _watch(self, descriptor: int) -> None:
        """Read the numbers of arriving signals, which come here even while the main thread compiles."""
        while found := os.read(descriptor, 1):
            if found[0] in self._previous and signal.getsignal(found[0]) == self._handle:
                self._arrived(found[0])
        os.close(descriptor)


class _Request:
    """Leaves work that is asked to stop: at once by a second Ctrl-C, or where native code does not return."""

    def __init__(self) -> None:
        self.kept: list[Callable[[], str | None]] = []  # what is kept, as the parts of the work that are entered say it
        self._raised, self._first = -float("inf"), -float("inf")  # when

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Leave the work, in the main thread; what is repeated soon is one request, as queues ask several times."""
        now = time.monotonic()
        if now - self._raised > IN_ORDER:
            self._raised = now
            raise Asked(number)

    def arrived(self, number: int) -> None:
        """End the process where that is asked for, and see to it later that the work was left."""
        now = time.monotonic()
        if self._first < 0:
            self._first = now
            late = threading.Timer(PATIENCE, self._insist, (number,))
            late.daemon = True
            late.start()
        elif number == signal.SIGINT and now - self._first > ONE_PRESS:
            self._end(INTERRUPTED, "ended at once")

    def _insist(self, number: int) -> None:
        if self._raised < 0 and self.kept:
            who, code = who_asked(number == signal.SIGINT)
            self._end(code, f"stopped {who}")

    def _end(self, code: int, how: str) -> None:
        line = f"{how}."
        try:
            line = f"{how}; {next(said for kept in reversed(self.kept) if (said := kept()) is not None)}"
        finally:  # whatever is wrong with what would be said
            leave(code, line)


@contextmanager
def stopped_early(kept: Callable[[], str | None], left: Iterable[int] = ()) -> Iterator[None]:
    """Turn what asks to stop into one line, where no step of training is to be finished first.

    Work is left at once, as Ctrl-C leaves it; whoever trains within has signals to himself meanwhile
    (`libhetero.training.interruption.StopRequest`). Within another one it says more closely what is kept.

    Parameters
    ----------
    kept : returns what is kept and how to go on, once work has been left, or None for what the one around says; also
        asked by a thread, where a second Ctrl-C ends the process at once or native code does not return within
        `PATIENCE` seconds.
    left : signals that are heard by others.

    Raises
    ------
    StoppedEarly : "stopped by Ctrl-C; " or "stopped as the system asked; ", and what `kept` says.
    KeyboardInterrupt : where `kept` says None.
    """
    request = signal.getsignal(signal.SIGTERM)
    with ExitStack() as heard:
        if not isinstance(request, _Request) or threading.current_thread() is not threading.main_thread():
            request = _Request()
            heard.enter_context(Hearing(set(ASKING) - set(left), request, request.arrived))
        request.kept.append(kept)
        try:
            yield
        except KeyboardInterrupt as asked:
            said = kept()
            if said is None:
                raise
            who, code = who_asked(by_user(asked))
            raise StoppedEarly(f"stopped {who}; {said}", code) from None
        finally:
            request.kept.pop()


def by_user(asked: KeyboardInterrupt) -> bool:
    """Return whether it was Ctrl-C, of which a terminal tells all programs that run there."""
    return not isinstance(asked, Asked) or asked.number == signal.SIGINT


def who_asked(by_user: bool) -> tuple[str, int]:
    """Return who asked to stop, in words, and the exit code that says so.

    Parameters
    ----------
    by_user : whether it was by Ctrl-C.
    """
    return ("by Ctrl-C", INTERRUPTED) if by_user else ("as the system asked", TERMINATED)


@contextmanager
def before_leaving(deed: Callable[[], object]) -> Iterator[None]:
    """Have something done also where the process ends from within a thread (`leave`), as telling a program to stop.

    Parameters
    ----------
    deed : called in that thread; does not wait for anything.
    """
    _before_leaving.append(deed)
    try:
        yield
    finally:
        _before_leaving.remove(deed)


def leave(code: int, why: str) -> None:
    """End this process from any thread, whatever the main one is at, with one line.

    Its reader may have gone, or its terminal be closed: the process ends all the same.
    """
    try:
        for deed in tuple(_before_leaving):
            deed()
        LOGGER.error(why)
        sys.stdout.flush()
    finally:
        os._exit(code)
