"""Trials of readers in processes that live long: one reads a damaged file, its parent watches time and memory.

`Child` starts a process that reads what it is told to, a trial a message. It is ended when a trial takes too long or
too much memory, and a new one is started for the next trial, as when it dies.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import logging
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds that a reader may take
MEMORY = 2 << 30  # bytes that it may add to the process
LONGEST = 1000  # characters of a line that somebody reads
READ, REFUSED = "read", "refused in one line"
FAILURES = ("traceback", "crash", "slow", "memory", "poor line", "warning printed", "left behind")
PYTHON_SAYS = re.compile(  # what only a programmer understands
    r"NoneType|object is not|has no attribute|not subscriptable|unsupported operand|invalid literal for|<class '"
    r"|not callable|unhashable|index out of range|out of bounds for|Traceback|ufunc|dtype\(|must be real|list indices"
    r"|string indices|expected str, bytes|not enough values|too many values|zero-size array|shape mismatch"
    r"|object at 0x|np\.(?:str|bytes|float|int)|cannot reshape|could not broadcast|Errno"
)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Parameters
    ----------
    name : READ, REFUSED or one of FAILURES.
    said : the line; of a traceback its last line first.
    where : last line of the library that was at work; "" where nobody knows.
    """

    name: str
    said: str = ""
    where: str = ""

    @property
    def failed(self) -> bool:
        """Whether a user must not see this."""
        return self.name in FAILURES


def judge_line(line: str, names: tuple[str, ...]) -> str:
    """Return what is wrong with a refusal, "" for nothing.

    Parameters
    ----------
    line : what the user reads.
    names : of files; the line must hold one of them.
    """
    if "\n" in line:
        return "more than one line"
    if not re.sub("[\udc80-\udcff]", "", line).isprintable():  # bytes of a name that are no text stay
        return "characters that are not printable"
    if len(line) > LONGEST:
        return f"{len(line)} characters long"
    if not any(name in line for name in names):
        return f"names none of {', '.join(names)}"
    if not line.endswith((".", "?", ")")):
        return "no full stop"
    said = PYTHON_SAYS.search(line)
    return f"says {said[0]!r}" if said else ""


def told(error: BaseException) -> str:
    """Return the last line of a traceback, then its end."""
    return "".join([*traceback.format_exception_only(error)[:1], *traceback.format_exception(error)])[:300] + (
        "\n…\n" + "".join(traceback.format_tb(error.__traceback__)[-4:])
    )


def place_of(error: BaseException | None) -> str:
    """Return the last line of the library in a traceback, as file:line."""
    frames = [] if error is None else traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/libhetero/" in frame.filename and "site-packages" not in frame.filename]
    return f"{ours[-1].filename.rpartition('/libhetero/')[2]}:{ours[-1].lineno}" if ours else ""


def judge(error: BaseException | None, names: tuple[str, ...], printed: str, left: list[str]) -> Outcome:
    """Return the outcome of a call that ended.

    Parameters
    ----------
    error : what it raised; None for nothing.
    names : of files that a refusal must name one of.
    printed : what came out on stderr besides, warnings of Python and of libraries.
    left : files that are new in the folder.
    """
    from libhetero.cli.failure import describe_failure

    if isinstance(error, MemoryError):
        return Outcome("memory", told(error), place_of(error))
    if isinstance(error, (ImportError, AttributeError)) and "libhetero" in str(error):
        return Outcome("no such door", str(error))
    line = None if error is None else describe_failure(error)
    if error is not None and line is None:
        return Outcome("traceback", told(error), place_of(error))
    if printed:
        return Outcome("warning printed", printed[-1500:])
    if line is None:
        return Outcome(READ)
    if left:
        return Outcome("left behind", f"{', '.join(left)} after: {line}")
    wrong = judge_line(line, names)
    return Outcome("poor line", f"{wrong}: {line[:LONGEST]}", place_of(error)) if wrong else Outcome(REFUSED, line)


# In the child -----------------------------------------------------------------------------------


def _status(key: str) -> int:
    """Return a line of this process's status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def limited_memory() -> Any:
    """Refuse the process more memory than it has and may add, where the system can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _status("VmData") + MEMORY + (1 << 28)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the highest use of memory starts anew
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def read_once(kind: Any, turn: int, names: tuple[str, ...], printed: Path) -> Outcome:
    """Read the damaged file of the current folder by its door.

    Parameters
    ----------
    kind : a `doors.Kind`.
    turn : which way of reading.
    names : that a refusal must hold one of.
    printed : file that stderr goes to.
    """
    before = set(os.listdir())
    error: BaseException | None = None
    start, size = _status("VmRSS"), printed.stat().st_size
    with limited_memory(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        for kind_of_warning in (ResourceWarning, DeprecationWarning, PendingDeprecationWarning, ImportWarning):
            warnings.simplefilter("ignore", kind_of_warning)  # which no user sees
        try:
            kind.door(turn)
        except Exception as raised:
            error = raised
    grown = _status("VmHWM") - start
    if grown > MEMORY:
        return Outcome("memory", f"{grown / 2**30:.1f} GiB")
    sys.stderr.flush()
    with printed.open(errors="replace") as file:
        file.seek(size)
        said = "".join(file.readlines())
    said += "".join(f"{one.category.__name__}: {one.message} ({one.filename}:{one.lineno})\n" for one in warned)
    new = sorted(name for name in set(os.listdir()) - before if error is not None)
    return judge(error, names, said, new)


def serve(connection: Connection, printed: str, doors: str) -> None:
    """Read what comes, (folder, kind, turn, names) a trial, until None comes.

    Parameters
    ----------
    printed : file for stderr.
    doors : module whose `kind_named` gives the kinds.
    """
    kind_named = importlib.import_module(doors).kind_named
    with open(printed, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("libhetero").addHandler(logging.NullHandler())
    logging.getLogger("libhetero").propagate = False
    connection.send("ready")
    while (task := connection.recv()) is not None:
        folder, kind, turn, names = task
        os.chdir(folder)
        connection.send(read_once(kind_named(kind), turn, names, Path(printed)))


# In the parent ----------------------------------------------------------------------------------


class Child:
    """A process that reads, and a new one when it has ended.

    Parameters
    ----------
    printed : file for its stderr.
    patience : seconds that a trial may take.
    doors : module of the kinds.
    """

    def __init__(self, printed: Path, patience: float = PATIENCE, doors: str = "doors") -> None:
        self._printed, self._patience, self._doors = printed, patience, doors
        self._process: Any = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, str(self._printed), self._doors), daemon=True)
        self._process.start()
        other.close()
        if self._connection.recv() != "ready":
            raise RuntimeError("the child does not answer")

    def try_once(self, folder: Path, kind: str, turn: int, names: tuple[str, ...]) -> Outcome:
        """Let the child read; see `read_once`."""
        if self._process is None:
            self._start()
        start, end = _resident(self._process.pid), time.monotonic() + self._patience
        self._connection.send((str(folder), kind, turn, names))
        while not self._connection.poll(0.05):
            grown = _resident(self._process.pid) - start
            if grown > MEMORY:
                self.stop()
                return Outcome("memory", f"more than {grown / 2**30:.1f} GiB")
            if time.monotonic() > end:
                self.stop()
                return Outcome("slow", f"more than {self._patience:g} s")
        try:
            return self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code, self._process = self._process.exitcode, None
            return Outcome("crash", f"exit code {code}: {self._printed.read_text(errors='replace')[-800:]}")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def _resident(process: int) -> int:
    """Return the memory of a process in bytes, 0 where it is not known."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0
