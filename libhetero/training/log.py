"""What a run says while it trains: `log.jsonl` for programs, a line or a bar for people.

Every report is one JSON object on one line: `step`, `epoch` (fraction), `loss`, `gradient_norm` and
the model's other metrics (`signal`, the part explained of what can be: `libhetero.models.corner_noise`)
averaged over the steps since the last report, `learning_rate`,
`particles_per_second`, `seconds_left`, and `memory_bytes`, the most that was in use so far: on the
fullest device of process 0 where devices tell (GPU, TPU), of that process elsewhere (CPU).
The last line of an epoch has the means over it and their changes (`epoch_loss`, `epoch_signal`, `…_change`).
The first line after a start has `first_step_seconds`, from the start of training, which compiles the
step, to the end of the first one. A line is added by one write, so that a killed run leaves whole
lines and at most one that is cut, which the reader leaves out. A resumed run continues the file at
its step. People see at most one line in five seconds.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from libhetero.configuration import read_lines
from libhetero.files import replacing, writing
from libhetero.telling import duration, pace
from libhetero.telling.progress import Progress
from libhetero.training.course import Course, Verdict, percent
from libhetero.training.memory import peak_memory

GO_ON = "free some and go on with --resume"


class RunLog:
    """Writes log.jsonl and shows progress.

    Parameters
    ----------
    path : of log.jsonl; None writes no file and shows nothing.
    total : steps of the whole run.
    start : step it starts from; lines of later steps are dropped from the file.
    began : when training was started, on the clock `time.monotonic`; None for now.
    listener : called with every line that is written.
    """

    def __init__(
        self,
        path: Path | None,
        total: int,
        start: int = 0,
        began: float | None = None,
        listener: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._path = None if path is None else Path(path)
        self._total, self._listener = total, listener
        self._began = time.monotonic() if began is None else began
        self._first_step: float | None = None  # seconds, until they are written
        self._clock: float | None = None
        self._steps = self._particles = 0
        self._shown: Progress | None = None
        self._course = Course()
        if self._path is not None:
            self._course = Course(_keep_lines(self._path, start))
            self._shown = Progress("step", total, start=start, lasting=True)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)

    def start_clock(self) -> None:
        """Measure rates from here: after the first step, which compiles, and after each report.

        The first call ends the first step, and says how long that took.
        """
        now = time.monotonic()
        if self._clock is None and self._shown is not None:
            self._first_step = round(now - self._began, 3)
            self._shown.say(f"first step after {duration(self._first_step)}")
        self._clock, self._steps, self._particles = now, 0, 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what is done inside, which is no training, out of the rates."""
        start = time.monotonic()
        yield
        if self._clock is not None:
            self._clock += time.monotonic() - start

    def count(self, particles: int) -> None:
        """Note one step over `particles` particles."""
        self._steps += 1
        self._particles += particles

    def report(self, step: int, values: dict[str, Any]) -> None:
        """Add one line at `step`; rates are over the steps counted since the last one.

        Raises
        ------
        DataError : if it cannot be written.
        """
        line = {"step": step, **values}
        if self._clock is not None and self._steps:
            seconds = max(time.monotonic() - self._clock, 1e-9)
            line["particles_per_second"] = round(self._particles / seconds, 2)
            line["seconds_left"] = round((self._total - step) * seconds / self._steps, 1)
        self.start_clock()
        if self._path is None or self._shown is None:
            return
        line["memory_bytes"] = peak_memory()
        if self._first_step is not None:
            line["first_step_seconds"], self._first_step = self._first_step, None
        line |= self._course.add(line)
        _append_line(self._path, line)
        if self._listener is not None:
            self._listener(line)
        note, brief = f"epoch {line['epoch']:.2f}, loss {line['loss']:.5g}", f"loss {line['loss']:.5g}"
        if "signal" in line:
            of_epoch, brief = self._course.note(), f"signal {percent(line['signal'])}"
            note += f", signal explained {percent(line['signal'])}" + (f" ({of_epoch})" if of_epoch else "")
        if "seconds_left" in line:
            fast = pace(line["particles_per_second"], "particles", line["seconds_left"])
            note, brief = f"{note}, {fast}", f"{fast}, {brief}"
        self._shown.show(step, note, brief)

    def go_back(self, step: int) -> None:
        """Drop the lines after `step`: training goes on from there."""
        if self._path is not None:
            self._course = Course(_keep_lines(self._path, step))
        if self._shown is not None:
            self._shown.restart(step)
        self.start_clock()

    def verdict(self) -> Verdict | None:
        """Return whether the run still improves, by its lines; None where none are written."""
        return None if self._path is None else self._course.verdict()


@dataclass(frozen=True)
class Report:
    """What every line of log.jsonl holds; which other numbers there are, the model says."""

    step: int
    epoch: float
    loss: float
    learning_rate: float = 0.0


def read_log(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the lines of a log.jsonl; one that is cut, as the last may be, or is no report is left out."""
    return read_lines(Path(path), Report)


def _append_line(path: Path, line: dict[str, Any]) -> None:
    """Add one line by one write, which a killed process has done or not."""
    data = (json.dumps(line) + "\n").encode()
    with writing(path, GO_ON), path.open("ab", buffering=0) as file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _keep_lines(path: Path, last_step: int) -> list[dict[str, Any]]:
    """Drop the lines after `last_step`, written by a run that went on past its checkpoint, and return the others."""
    kept: list[dict[str, Any]] = []
    if path.exists() and last_step > 0:
        kept = [line for line in read_log(path) if line["step"] <= last_step]
    with writing(path, GO_ON):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    return kept
