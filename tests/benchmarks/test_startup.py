"""The start-up benchmark: what it waits for, and what it says when that does not come."""

import json
import os
import time

import pytest

from libhetero.errors import UserError

WORKING = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--path") + 1])
folder.mkdir()
(folder / "log.jsonl").write_text(json.dumps({"step": 1}) + chr(10))
end = time.monotonic() + 30
while time.monotonic() < end:
    pass
"""


@pytest.fixture
def startup(load):
    return load("startup")


@pytest.fixture
def program(startup, tmp_path, monkeypatch):
    """Take a program written here for e2hype_refine.py."""

    def write(text: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(text)
        monkeypatch.setattr(startup, "find_program", lambda name: path)

    return write


def test_the_first_line_of_the_log_ends_the_waiting(startup, program, tmp_path) -> None:
    program(WORKING)
    training = startup.Training("working", (), "particles.star")
    seconds, cores = startup.first_step(training, tmp_path, "run", tmp_path / "cache", 0.5)
    assert 0 < seconds < 30
    assert 0 < cores <= os.cpu_count()


def test_a_training_that_ends_before_its_first_step_is_reported(startup, program, tmp_path) -> None:
    program("raise SystemExit(3)")
    with pytest.raises(UserError, match=r"no first step \(exit code 3\)"):
        startup.first_step(startup.Training("ended", (), ""), tmp_path, "run", tmp_path, 0)


def test_cpu_seconds_are_those_of_the_process(startup) -> None:
    before, start = startup._cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - start < 0.2:
        pass
    assert startup._cpu_seconds(os.getpid()) - before >= 0.15


def test_import_and_help_are_timed_and_written(startup, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(startup, "TRAININGS", ())
    assert startup.main(["--repeats", "1", "--json", str(tmp_path / "startup.json")]) == 0
    found = json.loads((tmp_path / "startup.json").read_text())
    assert found["import"] > 0 and found["--help"] > 0
    assert "--help" in capsys.readouterr().out
