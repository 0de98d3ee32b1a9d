"""What a shell may hand over: streams that are closed, full or of a small encoding, folders that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TEXT = "3 Å × 2 µm — 10³ voxels, σ ≥ 2 … ä"
PROGRAM = f"""
import logging, sys
from libhetero.cli import common_parser, run_program
from libhetero.errors import DataError
def call(options, session):
    print({TEXT!r})
    logging.getLogger("libhetero.try").info({TEXT!r})
    logging.getLogger("libhetero.try").warning({TEXT!r})
    if options.verbose == 2:
        raise DataError({TEXT!r} + "n\\udcf6.star: no such file")
    open("written.txt", "w").write("whole")
parser = common_parser("Try " + {TEXT!r}, prog="e2hype_try.py")
raise SystemExit(run_program(parser, None, call))
"""


def _run(words: str, redirected: str = "", *, where: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run the program through a shell, as a user would."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **variables}
    (where / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = f"{sys.executable} program.py {words} {redirected}"
    return subprocess.run(command, shell=True, capture_output=True, env=environment, cwd=where, timeout=60)


ASCII = {"PYTHONIOENCODING": "ascii"}
C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("variables", [ASCII, C_LOCALE], ids=["ascii", "C"])
def test_a_small_encoding_reads_the_nearest_characters(variables: dict[str, str], tmp_path: Path) -> None:
    done = _run("", where=tmp_path, **variables)
    assert done.returncode == 0
    line = b"3 A x 2 um - 103 voxels, sigma >= 2 ... \\xe4"
    assert done.stdout.splitlines() == [line, line]
    assert done.stderr == b"e2hype_try.py: warning: " + line + b"\n"


def test_a_latin_terminal_reads_what_it_has(tmp_path: Path) -> None:
    done = _run("", where=tmp_path, PYTHONIOENCODING="latin-1")
    line = "3 Å × 2 µm - 10³ voxels, sigma >= 2 ... ä"
    assert done.stdout.decode("latin-1").splitlines() == [line, line]


@pytest.mark.parametrize("variables", [ASCII, {"PYTHONIOENCODING": "utf-8"}], ids=["ascii", "utf-8"])
def test_a_name_that_is_no_text_keeps_its_bytes(variables: dict[str, str], tmp_path: Path) -> None:
    done = _run("-v 2", where=tmp_path, **variables)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith(b"n\xf6.star: no such file")


def test_help_and_wrong_options_answer_in_ascii(tmp_path: Path) -> None:
    assert b"Try 3 A x" in _run("--help", where=tmp_path, **ASCII).stdout
    done = _run("--threads=ä", where=tmp_path, **ASCII)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("redirected", "told"),
    [(">&-", True), ("2>&-", False), (">&- 2>&-", False), ("<&-", True), (">/dev/full", True), ("2>/dev/full", False)],
)
def test_a_stream_that_takes_nothing_costs_no_more_than_its_lines(redirected: str, told: bool, tmp_path: Path) -> None:
    done = _run("", redirected, where=tmp_path)
    full = redirected == ">/dev/full"
    assert done.returncode == 0
    assert (tmp_path / "written.txt").read_text() == "whole", "nothing that is printed lands in a file"
    lines = done.stderr.decode().splitlines()
    assert len(lines) == (1 + full if told else 0)
    assert any("the work goes on: no space left" in line for line in lines) == full
    failed = _run("-v 2", redirected, where=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.count(b"\n") == (2 + full if told else 0) and b"Traceback" not in failed.stderr
    assert (b"no such file" in failed.stderr) == told
    assert b"no such file" not in failed.stdout


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    command = f"rmdir ../gone; {sys.executable} {program}"
    done = subprocess.run(command, shell=True, capture_output=True, env=environment, cwd=tmp_path / "gone", timeout=60)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr == b"e2hype_try.py: the current folder is no more; go to another one, or to this one anew.\n"


def test_thread_counts_that_no_runtime_can_follow_are_told_and_left(tmp_path: Path) -> None:
    absurd = {"NPROC": "99999", "OMP_NUM_THREADS": "-1", "MKL_NUM_THREADS": "many", "NUMBA_NUM_THREADS": "9" * 5000}
    sensible = {"OPENBLAS_NUM_THREADS": "4", "NUMEXPR_NUM_THREADS": ""}
    done = _run("-v 0", where=tmp_path, **absurd, **sensible)
    assert done.returncode == 0
    warned = [line for line in done.stderr.decode().splitlines() if "expected 1 to 1024" in line]
    assert [line.split()[2].split("=")[0] for line in warned] == [
        "NPROC",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ]
    assert max(map(len, warned)) < 300
    assert b"expected 1 to" not in _run("-v 0 --threads 2", where=tmp_path, **absurd).stderr
    nested = _run("-v 0", where=tmp_path, OMP_NUM_THREADS="4,2")
    assert b"expected 1 to" not in nested.stderr


def test_narrow_and_dumb_terminals_answer(tmp_path: Path) -> None:
    for columns in ("0", "1", "-5", "x", "99999999"):
        done = _run("--help", where=tmp_path, COLUMNS=columns, TERM="dumb")
        assert done.returncode == 0 and b"--threads" in done.stdout
