"""Damaged files for the readers, briefly; and that benchmarks/fuzz.py sees what it looks for."""

import json
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from libhetero.errors import DataError

HOSTILE_DOORS = """
import ctypes, time
from types import SimpleNamespace

def crash(turn):
    ctypes.string_at(0)

def slow(turn):
    time.sleep(60)

def memory(turn):
    held = bytearray(5 << 29)

def fine(turn):
    pass

def kind_named(name):
    return SimpleNamespace(name=name, door=globals()[name])
"""


@pytest.fixture
def fuzz(load):
    return load("fuzz")


@pytest.fixture
def trials(load):
    return load("trials")


@pytest.fixture
def inputs(load, tmp_path):
    load("doors").make_inputs(tmp_path / "inputs", heavy=False)
    return tmp_path / "inputs"


def test_damaged_files_are_read_or_refused(fuzz, tmp_path, capsys) -> None:
    report = tmp_path / "fuzz.json"
    limits = ["--jobs", "1", "--patience", "60"]  # other tests are at work, too
    code = fuzz.main(["--light", "--count", "80", "--seed", "7", "--programs", "0", *limits, "--json", str(report)])
    assert code == 0, capsys.readouterr().out
    outcomes = json.loads(report.read_text())["outcomes"]
    assert outcomes["read"] > 10 and outcomes["refused in one line"] > 25


def test_what_no_reader_survives_is_seen(trials, tmp_path, monkeypatch) -> None:
    (tmp_path / "hostile_doors.py").write_text(HOSTILE_DOORS)
    monkeypatch.syspath_prepend(str(tmp_path))
    child = trials.Child(tmp_path / "stderr", patience=3, doors="hostile_doors")
    try:
        found = [child.try_once(tmp_path, name, 0, ()).name for name in ("crash", "fine", "memory", "slow")]
    finally:
        child.stop()
    assert found == ["crash", "read", "memory", "slow"]


def leave_a_file(turn: int) -> None:
    open("half_written", "w").close()
    raise DataError("list.star: short; mend it.")


def warn(turn: int) -> None:
    warnings.warn("invalid value", RuntimeWarning, stacklevel=1)


def refuse(line: str):
    def door(turn: int) -> None:
        raise DataError(line)

    return door


@pytest.mark.parametrize(
    ("door", "outcome"),
    [
        (lambda turn: None, "read"),
        (lambda turn: [][0], "traceback"),
        (refuse("list.star: column 3 is text; mend it."), "refused in one line"),
        (refuse("list.star: two\nlines."), "refused in one line"),  # programs print it as one
        (refuse("column 3 is text; mend it."), "poor line"),
        (refuse("list.star: no full stop"), "poor line"),
        (refuse("list.star: 'NoneType' object is not iterable."), "poor line"),
        (refuse(f"list.star: {'9' * 5000}."), "poor line"),
        (lambda turn: np.ones(1 << 32), "memory"),
        (lambda turn: os.stat("/nowhere/list.star"), "refused in one line"),
        (leave_a_file, "left behind"),
        (warn, "warning printed"),
    ],
)
def test_outcomes(trials, door, outcome, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = tmp_path / "stderr"
    printed.touch()
    assert trials.read_once(SimpleNamespace(door=door), 0, ("list.star",), printed).name == outcome


def test_outcomes_of_programs(fuzz) -> None:
    line = "e2hype_import.py: list.star: column 3 is text; mend it.\n"
    for outcome, code, said, left in (
        ("read", 0, "e2hype_import.py: warning: odd\n", ["out.lst"]),
        ("refused in one line", 1, line, []),
        ("refused in one line", 1, "e2hype_import.py: warning: odd\n" + line, []),
        ("left behind", 1, line, ["out.lst"]),
        ("poor line", 1, 2 * line, []),
        ("poor line", 1, "", []),
        ("warning printed", 0, "RuntimeWarning\n", []),
        ("traceback", 1, "Traceback (most recent call last):\n", []),
        ("crash", -11, "", []),
    ):
        assert fuzz.judge_program(code, said, left, ("list.star",)).name == outcome


def test_a_trial_is_told_by_seed_and_index(fuzz, inputs, tmp_path) -> None:
    valid = {path.name: path.read_bytes() for path in inputs.iterdir()}
    for index in range(27):
        kind = fuzz.kind_of(index)
        made = []
        for name in ("first", "second"):
            folder = tmp_path / f"{name}_{index}"
            file, what = fuzz.arrange(kind, inputs, folder, np.random.default_rng([3, index]))
            path = folder / file
            made.append((file, what, path.read_bytes() if path.is_file() and path.stat().st_size < 10**8 else None))
        assert made[0] == made[1] and made[0][2] != valid[kind.file], kind.name
    assert {path.name: path.read_bytes() for path in inputs.iterdir()} == valid
