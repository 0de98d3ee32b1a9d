"""How far long work has got: a bar on a terminal, a plain line now and then elsewhere.

decoding 1200/5000, 310 particles/s, 12 s left
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from types import TracebackType
from typing import Any

from tqdm import tqdm

from libhetero.telling.amounts import pace
from libhetero.telling.waiting import working

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 5.0
LAYOUT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"  # tqdm's time left would count compilation


class Progress:
    """Tells of one count; a context that takes its bar away in the end.

    Parameters
    ----------
    what : a few words, such as "decoding".
    total : what the count comes to.
    start : where it begins.
    unit : what is counted, in the plural, to tell its rate and the time left; None where the notes do.
    lasting : whether the end is told however short the work was, as it is after any line, and the bar stays on the
        screen.
    """

    def __init__(
        self, what: str, total: int, *, start: int = 0, unit: str | None = None, lasting: bool = False
    ) -> None:
        self._what, self._total, self._lasting = what, total, lasting
        self._unit = unit
        self._told = time.monotonic()
        self._bar: tqdm | None = None
        if _has_room() and LOGGER.isEnabledFor(logging.INFO):
            self._bar = tqdm(
                total=total, initial=start, desc=f"{what} ", bar_format=LAYOUT, dynamic_ncols=True, leave=lasting
            )
        self.restart(start)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def restart(self, done: int) -> None:
        """Go on from `done`, which may lie behind, and measure the rate from now."""
        self._from, self._clock = done, time.monotonic()
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def show(self, done: int, note: str = "", brief: str = "") -> None:
        """Tell how much is done, and a note with it.

        Parameters
        ----------
        done : so far.
        note : of a line.
        brief : in its place beside a bar, of which a terminal of 80 columns leaves 50; "" for the same.
        """
        now = time.monotonic()
        words = [note] if note else []
        if self._bar is not None and brief:
            words = [brief]
        if self._unit is not None and done > self._from:
            each = max((now - self._clock) / (done - self._from), 1e-9)
            words.append(pace(1 / each, self._unit, (self._total - done) * each))
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(words), refresh=False)
            self._bar.update(done - self._bar.n)
        elif now - self._told > SECONDS_BETWEEN_LINES or (self._lasting and done >= self._total):
            self._told, self._lasting = now, True  # of what a line was told, the end is told too
            LOGGER.info("%s", ", ".join([f"{self._what} {done}/{self._total}", *words]))

    def say(self, line: str) -> None:
        """Tell a line of its own, beside the bar."""
        say(line)


def _has_room() -> bool:
    """Return whether there is a terminal that a bar can be drawn on: some tell that they have no columns."""
    if not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # no file of the system's; tqdm then takes what the environment says
        return True


def say(line: str) -> None:
    """Tell a line of its own, beside whatever bar there is."""
    with tqdm.external_write_mode():
        LOGGER.info("%s", line)


class Counts:
    """Tells of one count after the other; a context that takes the last bar away.

    Parameters
    ----------
    main : the count whose fraction is passed on.
    progress : told that fraction.
    """

    def __init__(self, main: str, progress: Callable[[float], None]) -> None:
        self._main, self._progress = main, progress
        self._what = ""
        self._shown: Progress | None = None

    def __enter__(self) -> Counts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell how many of `what` are done of how many."""
        if self._shown is None or what != self._what:
            self.__exit__(None, None, None)
            self._what, self._shown = what, Progress(what, total, start=done, unit=what, lasting=True)
        else:
            self._shown.show(done)
        if what == self._main:
            self._progress(done / max(total, 1))


def tracked(
    blocks: Iterable[Any],
    total: int,
    what: str,
    size: Callable[[Any], int] = len,
    progress: Callable[[float], None] | None = None,
    unit: str = "particles",
) -> Iterator[Any]:
    """Yield blocks, telling how many particles have passed, the rate and the time left.

    Parameters
    ----------
    blocks : what to pass on.
    total : particles in all blocks together.
    what : a few words, such as "decoding".
    size : particles of one block.
    progress : called with the fraction done.
    unit : what is counted where it is no particles, in the plural.
    """
    done = 0
    with Progress(what, total, unit=unit) as shown:
        coming = iter(blocks)
        with working(shown.say, f"{what}, the first of {total} (a program for it is compiled)"):
            ready = list(islice(coming, 1))
        for block in chain(ready, coming):
            yield block
            first, done = done == 0, done + size(block)
            if progress is not None:
                progress(done / max(total, 1))
            if first:  # it compiles: rates are measured from its end
                shown.restart(done)
            else:
                shown.show(done)


def part_of(progress: Callable[[float], None], begun: float, share: float) -> Callable[[float], None]:
    """Return what tells of a part of some work, which begins at one fraction of it and is another of the whole."""
    return lambda done: progress(begun + share * done)
