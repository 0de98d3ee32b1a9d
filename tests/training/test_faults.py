"""Real faults in real processes: killed at any moment, a disk that is full."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from libhetero.training.log import read_log
from libhetero.training.loop import train
from tests.making.faulty_run import CONFIG
from tests.making.feeds import make_feed
from tests.making.toys import Toy

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(PROJECT / "tests" / "making" / "faulty_run.py")]
SMALL_DISK = "mount -t tmpfs -o size=4m none {0} && exec {1} {0}/run {2}"


def start(command: list[str]) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[dict]:
    """The log of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    model = Toy()
    train(model, model.init(jax.random.key(0)), make_feed(), CONFIG, folder)
    return read_log(folder / "log.jsonl")


def assert_same_losses(lines: list[dict], whole: list[dict]) -> None:
    assert [line["step"] for line in lines] == [line["step"] for line in whole]
    losses = [[line["loss"] for line in log] for log in (lines, whole)]
    np.testing.assert_allclose(*losses, rtol=2e-6)


@pytest.mark.parametrize("fault", ["killed", "killed_writing"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path, whole, fault) -> None:
    done = start([*COMMAND, str(tmp_path), fault])
    assert done.returncode == -signal.SIGKILL, done.stderr
    model = Toy()
    result = train(model, model.init(jax.random.key(0)), make_feed(), CONFIG, tmp_path, resume=True)
    assert result.finished and len(result.losses) >= 14
    assert_same_losses(read_log(tmp_path / "log.jsonl"), whole)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"21", "28"}, "nothing half written is left"


@pytest.mark.parametrize("fault", ["full", "full_unnoticed"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_once_it_is_not(tmp_path, whole, fault) -> None:
    """Noticed before anything is written; or unnoticed, as where another program fills it just then."""
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=4m", "none", str(tmp_path)]
    if start(probe).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    script = SMALL_DISK.format(tmp_path, " ".join(COMMAND), fault)
    done = start(["unshare", "-Urm", "sh", "-c", script])
    assert done.returncode == 0, done.stderr
    first, second, *log = done.stdout.splitlines()
    assert re.fullmatch("refused: .*: no space left on the disk.*; free some .* --resume.", first), first
    assert second == "resumed: 28 28", "the checkpoint before is intact: that of step 0"
    (tmp_path / "log.jsonl").write_text("\n".join(log))
    assert_same_losses(read_log(tmp_path / "log.jsonl"), whole)
