"""benchmarks/gpu.py: parts that finish, fail and are stopped, and what is reported of each."""

import fcntl
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

FIGURES = "import json, sys; json.dump({'rate': 3}, open(sys.argv[-1], 'w')); print('done')"
STOPPED = r"""
import fcntl, json, os, subprocess
os.makedirs("slow/default")
json.dump({"rows": {"start": 1}}, open("slow/mixture.json", "w"))
reports = [{"step": 1, "epoch": 0.5, "loss": 1.0, "particles_per_second": 7.0}, {"step": 2, "epoch": 1.0, "loss": 0.9}]
open("slow/default/log.jsonl", "w").write("".join(json.dumps(one) + "\n" for one in reports))
held = open("held", "w")
fcntl.flock(held, fcntl.LOCK_EX)
subprocess.Popen(["sleep", "60"], pass_fds=[held.fileno()]).wait()
"""


@pytest.fixture
def scripts(load: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Benchmarks that are played by these scripts, as parts of a run."""
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(gpu, "environment", dict)

    def parts(**codes: tuple[str, float]) -> None:
        for name, (code, _) in codes.items():
            (tmp_path / f"{name}.py").write_text(code)
        made = tuple(gpu.Part(name, f"{name}.py", until, "default") for name, (_, until) in codes.items())
        monkeypatch.setattr(gpu, "parts_of", lambda limit, tiny: made)

    return parts


def test_what_finishes_fails_and_is_stopped(load: Callable, scripts: Callable, tmp_path: Path) -> None:
    scripts(quick=(FIGURES, 1), wrong=("raise SystemExit('no GPU')", 1), slow=(STOPPED, 1))
    path, work = tmp_path / "gpu.json", tmp_path / "work"
    begin = time.monotonic()
    assert load("gpu").main(["--limit", "3", "--work", str(work), "--json", str(path)]) == 1
    with open(work / "held") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # to be had when all processes that held it have ended, a moment after a kill
    assert time.monotonic() - begin < 30
    parts = json.loads(path.read_text())["parts"]
    assert {name: part["state"] for name, part in parts.items()} == {
        "quick": "finished",
        "wrong": "failed",
        "slow": "stopped",
    }
    assert parts["quick"]["figures"] == {"rate": 3} and parts["quick"]["said"] == ["done"]
    assert parts["wrong"]["figures"] is None and parts["wrong"]["said"] == ["no GPU"]
    assert parts["slow"]["figures"] == {"rows": {"start": 1}}
    assert parts["slow"]["training"]["epoch"] == 0.5 and parts["slow"]["training"]["particles_per_second"] == 7


def test_all_of_it_is_right_when_all_finish(load: Callable, scripts: Callable, tmp_path: Path) -> None:
    scripts(quick=(FIGURES, 1))
    assert load("gpu").main(["--work", str(tmp_path / "work")]) == 0


def test_its_parts_are_programs_that_take_such_options(load: Callable) -> None:
    gpu, mixture = load("gpu"), load("mixture")
    for tiny in (False, True):
        speed, hundred, full = gpu.parts_of(480, tiny)
        assert speed.command.split()[0] == "speed.py" and speed.until < hundred.until < full.until == 1
        for part in (hundred, full):
            name, *words = part.command.split()
            options = mixture.build_parser().parse_args(words)
            assert name == "mixture.py" and options.work == part.name
        assert options.seconds == (1 if tiny else 60)
