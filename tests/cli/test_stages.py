"""Stages: programs are found, run in their folder and measured; a failure is one line."""

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
