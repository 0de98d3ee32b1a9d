"""Run programs one after another, one process each, and measure them: demos and benchmarks."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libhetero.errors import ConfigurationError, UserError
from libhetero.telling.stopping import before_leaving, by_user

CHECKOUT = Path(__file__).resolve().parents[2] / "programs"
PATIENCE = 5.0  # seconds that a program has to stop by the Ctrl-C that it got itself


@dataclass(frozen=True)
class StageResult:
    """What one stage cost.

    Parameters
    ----------
    name : of the stage.
    command : as run.
    seconds : wall-clock time of the process.
    peak_bytes : largest resident memory of the process.
    processor_seconds : processor time of the process and of all that it waited for; None where it was not measured.
    """

    name: str
    command: str
    seconds: float
    peak_bytes: int
    processor_seconds: float | None = None


def find_program(name: str) -> Path:
    """Return a program's file: of this checkout, else beside the interpreter, else on the path.

    Raises
    ------
    ConfigurationError : if it is nowhere.
    """
    for folder in (CHECKOUT, Path(sys.executable).parent):
        if (folder / name).is_file():
            return folder / name
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"{name}: not installed; expected it beside {sys.executable} or on the path. Run `pip install .` first."
        )
    return Path(found)


class RunningStage:
    """A program that was started for a stage, and is waited for or ended.

    Parameters
    ----------
    name : of the stage, for people.
    command : as typed into a shell, starting with the program.
    folder : the working directory.
    variables : of the program's environment, besides or in place of those of this process; None for these.
    output : descriptor that takes all that the program tells; None for the screen.

    Raises
    ------
    ConfigurationError : if the program is not installed.
    """

    def __init__(
        self,
        name: str,
        command: str,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        output: int | None = None,
    ) -> None:
        program, *arguments = shlex.split(command)
        self.name, self.command, self._start = name, command, time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(find_program(program)), *arguments],
            cwd=folder,
            stdout=output,
            stderr=_screen() if output is None else output,
            env={**os.environ, **(variables or {})},
        )
        self._told = contextlib.ExitStack()  # to stop, also where this process ends from within a thread
        self._told.enter_context(before_leaving(self._ask_to_stop))

    def finished(self) -> StageResult:
        """Wait until the program has ended, and return its time and memory.

        Raises
        ------
        UserError : if it failed; its own message is then already told.
        """
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._told.close()
        if status != 0:
            raise UserError(f"{self.name}: failed with the message above; the command was: {self.command}")
        return StageResult(
            self.name,
            self.command,
            time.monotonic() - self._start,
            usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            usage.ru_utime + usage.ru_stime,
        )

    def end(self, error: BaseException) -> None:
        """Let the program put its files in order, and wait until it has; one that has ended is left alone.

        Ctrl-C at the terminal reaches it too, and one that stops by that is not disturbed. What is still there after a
        while, or after a second Ctrl-C, is asked to stop; so is at once what nobody but this process can have told.

        Parameters
        ----------
        error : why it is not waited for any more.
        """
        with self._told:
            try:
                if isinstance(error, KeyboardInterrupt) and by_user(error):
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(PATIENCE)
            finally:
                self._ask_to_stop()
                self._process.wait()

    def _ask_to_stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)  # not to one that has been waited for


def run_stage(name: str, command: str, folder: Path, variables: Mapping[str, str] | None = None) -> StageResult:
    """Print one program's command, run it in `folder`, and return its time and memory.

    Parameters
    ----------
    name, command, folder, variables : as of `RunningStage`.

    Raises
    ------
    UserError : if it failed; its own message is then already on the screen.
    KeyboardInterrupt : at Ctrl-C, once the program has put its files in order.
    """
    print(f"\n## {name}\n$ {command}", flush=True)
    running = RunningStage(name, command, folder, variables)
    try:
        return running.finished()
    except BaseException as error:
        running.end(error)
        raise


def _screen() -> int | None:
    """Return the descriptor that Python's own errors go to: descriptor 2 may be a pipe, which has no room for a bar."""
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # no file of the system's
        return None
