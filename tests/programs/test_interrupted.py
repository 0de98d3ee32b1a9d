"""Ctrl-C at a terminal, pressed on the installed program: the run goes on from the step that it stopped at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.making.commands import NETWORK
from tests.making.sets import write_tiny_set

INSTALLED = Path(sys.executable).parent / "e2hype_refine.py"
PATIENCE = 180  # seconds
CTRL_C = b"\x03"  # which the terminal turns into SIGINT to all of the foreground
# A terminal of its own for a program, whose keys are the standard input; exits as the program does.
# Ctrl-C is not ignored there, as it is by what a script starts in the background.
TERMINAL = (
    "import os, pty, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
)
OPTIONS = [*NETWORK, "--batchsz", "12", "--report", "1", "--keep", "1", "--seed", "5"]

pytestmark = pytest.mark.skipif(not INSTALLED.exists(), reason="libhetero is not installed: pip install .")


class Session:
    """A program at a terminal.

    Parameters
    ----------
    folder : in which it runs.
    arguments : of e2hype_refine.py.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.screen = folder / f"screen_{time.monotonic_ns()}.txt"
        environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "TERM": "xterm"}
        with self.screen.open("wb") as shown:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TERMINAL, str(INSTALLED), *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=shown,
                stderr=subprocess.STDOUT,
            )

    def wait(self, reached: Callable[[], bool]) -> None:
        """Return once it is reached; it must be while the program runs."""
        end = time.monotonic() + PATIENCE
        while not reached():
            assert self.process.poll() is None and time.monotonic() < end, self.said
            time.sleep(0.05)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        assert self.process.stdin is not None
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def ended(self) -> int:
        """Return the exit code."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            assert self.process.stdin is not None
            self.process.stdin.close()

    @property
    def said(self) -> str:
        """What the screen has shown."""
        return self.screen.read_text(encoding="utf-8", errors="replace")


def steps(run: Path) -> list[int]:
    log = run / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())


def test_ctrl_c_stops_with_a_checkpoint_and_the_command_that_is_told_goes_on(tmp_path) -> None:
    write_tiny_set(tmp_path)
    run = tmp_path / "run"
    session = Session(tmp_path, "particles.star", *OPTIONS, "--path", "run", "--niter", "4000")
    session.wait(lambda: len(steps(run)) > 3)
    session.press(CTRL_C + CTRL_C)  # one press, which a terminal and a wrapper both hand on
    assert session.ended() == 130, session.said
    assert "stopping after this step, with a checkpoint" in session.said
    assert "stopped by Ctrl-C" in session.said and "--resume run" in session.said
    assert "Traceback" not in session.said and "ended at once" not in session.said
    stopped = steps(run)[-1]
    assert checkpoints(run) == [stopped] and not (run / "mid_00.txt").exists()

    session = Session(tmp_path, "--resume", "run")
    session.wait(lambda: len(steps(run)) > stopped + 3)
    session.press(CTRL_C)
    assert session.ended() == 130, session.said
    again = steps(run)
    assert again == list(range(1, again[-1] + 1)) and again[-1] > stopped, "no step is lost and none done twice"
    assert checkpoints(run) == again[-1:]


def test_ctrl_c_before_there_is_a_step_ends_at_once(tmp_path) -> None:
    write_tiny_set(tmp_path)
    session = Session(tmp_path, "particles.star", *OPTIONS, "--path", "run")
    session.wait(lambda: "particles" in session.said)
    session.press(CTRL_C)
    assert session.ended() == 130, session.said
    assert "Traceback" not in session.said and not steps(tmp_path / "run")
