"""Stages: programs are found, run in their folder and measured; a failure is one line; none is left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libhetero.cli import stages
from libhetero.errors import ConfigurationError, UserError


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program of 64 MiB that writes its argument to a file, and fails for the argument bad."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "note.py").write_text(
        "import sys\nheld = bytearray(2**26)\nheld[::4096] = b'x' * len(held[::4096])\n"
        "open('note', 'w').write(sys.argv[1])\nsys.exit(3 if sys.argv[1] == 'bad' else 0)\n"
    )
    monkeypatch.setattr(stages, "CHECKOUT", folder)
    return "note.py"


def test_a_stage_runs_in_its_folder_and_is_measured(program: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    found = stages.run_stage("first", f"{program} 'two words'", tmp_path)
    assert (tmp_path / "note").read_text() == "two words"
    assert found.name == "first" and found.peak_bytes > 2**26
    assert found.seconds > 0 and found.processor_seconds > 0
    assert "## first" in capfd.readouterr().out


def test_a_stage_has_the_variables_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides those of this process, which stay as they are."""
    (tmp_path / "tell.py").write_text("import os\nopen('told', 'w').write(os.environ['ONE'] + os.environ['TWO'])\n")
    monkeypatch.setattr(stages, "CHECKOUT", tmp_path)
    monkeypatch.setenv("ONE", "1")
    monkeypatch.setenv("TWO", "of before")
    stages.run_stage("first", "tell.py", tmp_path, {"TWO": "2"})
    assert (tmp_path / "told").read_text() == "12" and os.environ["TWO"] == "of before"


def test_a_failure_and_a_missing_program_are_one_line(program: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="second: failed"):
        stages.run_stage("second", f"{program} bad", tmp_path)
    with pytest.raises(ConfigurationError, match="e2hype_no.py: not installed"):
        stages.run_stage("third", "e2hype_no.py", tmp_path)


def test_programs_of_a_checkout_come_first() -> None:
    assert stages.find_program("e2hype_refine.py").parent.name == "programs"


STAGE = """
import pathlib, signal, sys
from libhetero.cli import stages
signal.signal(signal.SIGINT, signal.default_int_handler)
stages.CHECKOUT, stages.PATIENCE = pathlib.Path(".").absolute(), float(sys.argv[1])
try:
    stages.run_stage("slow", "slow.py", stages.CHECKOUT)
except KeyboardInterrupt:
    raise SystemExit(130)
"""
STOPS_BY_SIGTERM = """
import os, signal, sys, time
def stop(*_):
    time.sleep(0.3)
    open("in_order", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, signal.SIG_IGN)
open("begun", "w").write(str(os.getpid()))
time.sleep(60)
"""
STOPS_BY_CTRL_C = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    open("begun", "w").write(str(os.getpid()))
    time.sleep(60)
finally:
    time.sleep(1)
    open("in_order", "w").close()
"""


def _begun(folder: Path, program: str, patience: float) -> subprocess.Popen:
    """Start a stage in a group of processes of its own, as a terminal does, and wait until its program has begun."""
    (folder / "slow.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(Path(stages.__file__).parents[2])}
    words = [sys.executable, "-c", STAGE, str(patience)]
    process = subprocess.Popen(words, cwd=folder, env=environment, start_new_session=True)
    limit = time.monotonic() + 30
    while not (folder / "begun").exists() or not (folder / "begun").read_text():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    return process


def _check_end(process: subprocess.Popen, folder: Path) -> None:
    assert process.wait(timeout=30) == 130
    assert (folder / "in_order").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "begun").read_text()), 0)


@pytest.mark.parametrize(("program", "patience"), [(STOPS_BY_SIGTERM, 0.2), (STOPS_BY_CTRL_C, 20.0)])
def test_no_program_outlives_ctrl_c(program: str, patience: float, tmp_path: Path) -> None:
    """The terminal tells all; a program is waited for, so that it can put its files in order, however it is told."""
    process = _begun(tmp_path, program, patience)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _check_end(process, tmp_path)
    assert time.monotonic() - start < 15


def test_a_second_ctrl_c_is_not_kept_waiting(tmp_path: Path) -> None:
    process = _begun(tmp_path, STOPS_BY_SIGTERM, 100.0)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _check_end(process, tmp_path)
