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


def test_a_failure_and_a_missing_program_are_one_line(program: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="second: failed"):
        stages.run_stage("second", f"{program} bad", tmp_path)
    with pytest.raises(ConfigurationError, match="e2hype_no.py: not installed"):
        stages.run_stage("third", "e2hype_no.py", tmp_path)


def test_programs_of_a_checkout_come_first() -> None:
    assert stages.find_program("e2hype_refine.py").parent.name == "programs"


def test_no_program_outlives_ctrl_c(tmp_path: Path) -> None:
    """The program is waited for, so that it can put its files in order."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, sys, time\n"
        "def stop(*_):\n    time.sleep(0.3)\n    open('in_order', 'w').close()\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\nopen('begun', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    code = (
        "import pathlib, signal; from libhetero.cli import stages; signal.signal(signal.SIGINT, "
        "signal.default_int_handler); stages.CHECKOUT = pathlib.Path('.').absolute()\n"
        "try: stages.run_stage('slow', 'slow.py', stages.CHECKOUT)\n"
        "except KeyboardInterrupt: raise SystemExit(130)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(stages.__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    limit = time.monotonic() + 30
    while not (tmp_path / "begun").exists() or not (tmp_path / "begun").read_text():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert (tmp_path / "in_order").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "begun").read_text()), 0)
