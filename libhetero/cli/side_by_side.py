"""Rows of programs at the same time: within a row one after the other, each line with the name of its row before it.

Much of a small job is serial: loading, compiling, drawing. Two rows of such jobs on two cores take half of the time.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from libhetero.cli.stages import RunningStage, StageResult

ENDED = -1  # in place of the descriptor of an output that has ended
PIECE = 2**16  # bytes of output that are read at once
AT_ONCE = {"PYTHONUNBUFFERED": "1"}  # a line is told when it is written, not when a block is full


@dataclass(frozen=True)
class Row:
    """Programs that run one after the other.

    Parameters
    ----------
    name : of the row, for people.
    stages : name and command of each, in order.
    """

    name: str
    stages: tuple[tuple[str, str], ...]


@dataclass
class _Running:
    """A row on its way.

    Parameters
    ----------
    row : what it is.
    tell : is given each line that its programs write.
    results : of the stages that are done.
    stage : that runs, or ran last.
    output : descriptor that its output is read from.
    line : of its output, without its end so far.
    decoder : of its output.
    """

    row: Row
    tell: Callable[[str], None]
    results: list[StageResult] = field(default_factory=list)
    stage: RunningStage | None = None
    output: int = ENDED
    line: str = ""
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def start(self, folder: Path, variables: Mapping[str, str]) -> int:
        """Start the next stage; return the descriptor that its output is read from."""
        name, command = self.row.stages[len(self.results)]
        for line in ("", f"## {name}", f"$ {command}"):
            self.tell(line)
        self.output, end = os.pipe()
        try:
            self.stage = RunningStage(name, command, folder, variables, end)
        finally:
            os.close(end)
        return self.output

    def take(self) -> bool:
        """Read what the stage has written, and tell the lines that are whole; return whether more may come."""
        output = os.read(self.output, PIECE)
        *lines, self.line = (self.line + self.decoder.decode(output, not output)).split("\n")
        if not output and self.line:  # the last one has no end
            lines.append(self.line)
            self.line = ""
        for line in lines:
            self.tell(line)
        return bool(output)

    def finish(self) -> None:
        """Wait for the stage whose output has ended."""
        self._close()
        if self.stage is not None:
            self.results.append(self.stage.finished())

    def end(self, error: BaseException) -> None:
        """End the stage that runs, if one does."""
        if self.stage is not None:
            self.stage.end(error)
        self._close()

    def _close(self) -> None:
        if self.output != ENDED:
            os.close(self.output)
        self.output = ENDED


def run_side_by_side(
    rows: Sequence[Row],
    folder: Path,
    variables: Mapping[str, str] | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[tuple[StageResult, ...]]:
    """Run rows of programs in `folder` at the same time, tell what they say line by line, and return what each cost.

    Parameters
    ----------
    rows : each has one stage or more.
    folder : the working directory.
    variables : of the programs' environment, besides or in place of those of this process.
    progress : told the fraction of all stages that are done.

    Raises
    ------
    UserError : if a program failed; its own message is then already on the screen, and the others are ended.
    KeyboardInterrupt : at Ctrl-C, once the programs have put their files in order.
    """
    width = max(len(row.name) for row in rows)
    running = [_Running(row, _teller(f"{row.name:<{width}} | ")) for row in rows]
    try:
        _run_all(running, folder, {**(variables or {}), **AT_ONCE}, progress)
    except BaseException as error:
        with contextlib.ExitStack() as ending:  # each is ended, also where Ctrl-C comes again
            for row in running:
                ending.callback(row.end, error)
        raise
    return [tuple(row.results) for row in running]


def _run_all(
    running: Sequence[_Running], folder: Path, variables: Mapping[str, str], progress: Callable[[float], None]
) -> None:
    """Start each row, tell what its programs write, and start the next stage where one is done."""
    count = sum(len(row.row.stages) for row in running)
    with selectors.DefaultSelector() as outputs:
        for row in running:
            outputs.register(row.start(folder, variables), selectors.EVENT_READ, row)
        while outputs.get_map():
            for key, _ in outputs.select():
                told: _Running = key.data
                if told.take():
                    continue
                outputs.unregister(key.fileobj)
                told.finish()
                progress(sum(len(row.results) for row in running) / count)
                if len(told.results) < len(told.row.stages):
                    outputs.register(told.start(folder, variables), selectors.EVENT_READ, told)


def _teller(before: str) -> Callable[[str], None]:
    """Return what prints a line with the name of its row before it."""
    return lambda line: print(f"{before}{line}".rstrip(), flush=True)
