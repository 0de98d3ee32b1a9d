"""What the compiler says of itself is kept from the screen, in a log.

XLA writes to descriptor 2 from C++, past Python: slow compile alarms, constants that it folds, how to file a bug. So
descriptor 2 of a program becomes a pipe, at whose other end a process forked before anything heavy is loaded passes on
what is not the compiler's. It outlives a crash of the program, whose last words reach the screen. Python itself writes
to the screen as before: a bar of progress stays one.

    the user's cache folder / libhetero / compiler.log      of programs without a run folder of their own
    RUN / compiler.log                                      of training, from its beginning
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from libhetero.cli.runtime_log import Chatter

NAME = "compiler.log"
LARGEST = 2**20  # bytes of the log in the cache folder, beyond which it begins anew
_MARK = "\0"  # before what the program tells the reader at the other end: a new log's path, or nothing at its end
_END = _MARK
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # by the process at the other end
_GONE = (OSError, ValueError)  # a stream that nobody reads, that is full, or that is closed


def log_of_programs(environment: Mapping[str, str]) -> Path | None:
    """Return the log of programs without a run folder; None where there is no place for it."""
    try:
        home = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(home) / "libhetero"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return None
    return folder / NAME


class CompilerLog:
    """Where what the compiler says goes; None of it where nothing is kept back."""

    def __init__(self, kept: bool = False) -> None:
        self._kept = kept

    def keep_in(self, folder: Path) -> None:
        """Write it into a run folder from now on, and what was said so far."""
        if not self._kept:
            return
        with contextlib.suppress(OSError):  # the reader has died: what it would keep is lost, the work goes on
            os.write(2, _MARK.encode() + os.fsencode(Path(folder).absolute() / NAME) + b"\n")


@contextlib.contextmanager
def compiler_kept_back(whole_process: bool, supervised: bool) -> Iterator[CompilerLog]:
    """Keep the compiler's words from the screen for the time of the call.

    Parameters
    ----------
    whole_process : whether the call is all that this process does; within another program descriptor 2 is not ours.
    supervised : whether a parent reads descriptor 2 already, and sorts what it reads (`Sorter`).
    """
    if supervised or not whole_process or not hasattr(os, "fork"):
        yield CompilerLog(kept=supervised)
        return
    read, write = os.pipe()
    with contextlib.suppress(*_GONE):
        sys.stderr.flush()
    child = _reader(read, write)
    os.close(read)
    screen, python = os.dup(2), sys.stderr
    os.dup2(write, 2)
    os.close(write)
    sys.stderr = _as(python, screen)
    try:
        yield CompilerLog(kept=True)
    finally:
        with contextlib.suppress(*_GONE):
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            os.write(2, f"{_END}\n".encode())
        with contextlib.suppress(ChildProcessError):  # somebody waited for it
            os.waitpid(child, 0)
        os.dup2(screen, 2)
        with contextlib.suppress(*_GONE):
            sys.stderr.close()
        sys.stderr = python


def _reader(read: int, write: int) -> int:
    """Fork the process that reads what is written to the pipe; return its number.

    It ends here whatever happens: nothing of the caller's may run twice. Until it ignores them, signals wait.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        child = os.fork()
        if child:
            return child
        try:
            os.close(write)
            _pass_on(read)
        except Exception:  # a defect, told as one
            traceback.print_exc()
        finally:
            os._exit(0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as(stream: object, descriptor: int) -> io.TextIOWrapper:
    """Return a stream of text like another, to a descriptor."""
    encoding, errors = getattr(stream, "encoding", "utf-8"), getattr(stream, "errors", "backslashreplace")
    return open(descriptor, "w", buffering=1, encoding=encoding, errors=errors)


def _pass_on(source: int) -> None:
    """Read lines to their end, and pass on those that are not the compiler's."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)  # it ends when the program does
    for descriptor in (0, 1):
        os.close(descriptor)
    sorter = Sorter()
    with open(source, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for line in lines:
            for told in sorter.told(line):
                with contextlib.suppress(OSError):
                    os.write(2, told.encode("utf-8", "surrogateescape"))
            if sorter.ended:
                return


class Sorter:
    """Sorts what a process writes to descriptor 2: the compiler's words into the log, the others for the screen."""

    def __init__(self) -> None:
        self.ended = False
        self._log, self._chatter = _Log(log_of_programs(os.environ)), Chatter()

    def told(self, line: str) -> Iterator[str]:
        """Yield what of a line is for the screen."""
        text, command, rest = line.partition(_MARK)
        if text and self._chatter.takes(text):
            self._log.add(text)
        elif text:
            yield text
        if command + rest.rstrip("\n") == _END:
            self.ended = True
        elif command:
            self._log.move(Path(rest.rstrip("\n")))


class _Log:
    """A file that is opened when there is something to write, and that a full disk leaves as it is."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._said = path, ""

    def add(self, line: str) -> None:
        """Append a line."""
        self._said = (self._said + line)[-LARGEST:]
        self._write(line)

    def move(self, path: Path) -> None:
        """Go on in another file, which begins with what was said so far."""
        self._path = path
        if self._said:
            self._write(self._said)

    def _write(self, text: str) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            too_long = self._path.exists() and self._path.stat().st_size > LARGEST
            with open(self._path, "w" if too_long else "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
