"""The command `libhetero`: it names the programs, and becomes the one that is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from libhetero.cli import command, stages

PROJECT = Path(__file__).resolve().parents[2]


def test_the_table_names_every_program_and_what_it_does(capsys: pytest.CaptureFixture) -> None:
    assert command.main([]) == 0
    told = capsys.readouterr().out
    for path in (PROJECT / "programs").glob("e2hype_*.py"):
        summary = path.read_text(encoding="utf-8").splitlines()[1].strip('"')
        short = path.name.removeprefix("e2hype_").removesuffix(".py")
        assert any(line.split() == [short, *summary.split()] for line in told.splitlines()), path.name


@pytest.mark.parametrize("name", ["list", "e2hype_list", "e2hype_list.py"])
def test_it_becomes_the_program_with_its_arguments_and_exit_code(name: str, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    words = [sys.executable, "-m", "libhetero", name, "a list.star", "--no-such"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("e2hype_list.py: ") and done.stderr.count("\n") == 1
    assert "--no-such" in done.stderr and "a list" not in done.stderr


@pytest.mark.parametrize(("asked", "remedy"), [("refien", "did you mean refine?"), ("../etc", "--help names them all")])
def test_another_name_is_one_line(asked: str, remedy: str, capsys: pytest.CaptureFixture) -> None:
    assert command.main([asked, "x.star"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert asked in told and remedy in told


def test_without_programs_it_says_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(stages, "CHECKOUT", tmp_path)
    monkeypatch.setattr(stages.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main(["refine"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "pip install" in told
