"""The programs as installed: on the path under exactly their names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import libhetero

PROGRAMS = sorted((Path(__file__).resolve().parents[2] / "programs").glob("e2hype_*.py"))
INSTALLED = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(
    not any(INSTALLED.glob("e2hype_*.py")), reason="libhetero is not installed: pip install ."
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_an_installed_program_answers(path: Path, option: str, tmp_path: Path) -> None:
    done = subprocess.run([INSTALLED / path.name, option], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert path.name in done.stdout
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_an_installed_program_refuses_a_wrong_option(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [INSTALLED / path.name, "--no-such-option"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{path.name}: ")


def test_the_one_command_is_installed_and_starts_the_programs(tmp_path: Path) -> None:
    start = [INSTALLED / "libhetero", "version"]
    done = subprocess.run(start, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"libhetero {libhetero.__version__}\n", "")
