"""e2hype_refine.py as two real processes: killed, asked to stop, and resumed by one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from programs.e2hype_refine import main
from tests.making.commands import FAMILIES, NETWORK
from tests.making.sets import write_tiny_set

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 180  # seconds
OPTIONS = ["--batchsz", "12", "--schedule", "constant", "--warmup", "0", "--seed", "5", "--report", "1"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    write_tiny_set(folder)
    return folder


def _start(project: Path, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=1"),
        "XDG_CACHE_HOME": str(project / "cache"),
        "LIBHETERO_HEARTBEAT_SECONDS": "10",
    }
    program = str(PROJECT / "programs" / "e2hype_refine.py")
    return subprocess.Popen(
        [sys.executable, program, *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _start_two(project: Path, *arguments: str) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    common = (*arguments, "--coordinator", address, "--nprocs", "2", "--procid")
    return [_start(project, *common, str(index)) for index in range(2)]


def _finish(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    try:
        found = [process.communicate(timeout=PATIENCE) for process in processes]
        return [(process.returncode, *text) for process, text in zip(processes, found, strict=True)]
    finally:
        for process in processes:
            process.kill()


def _losses(folder: Path) -> list[float]:
    lines = (folder / "log.jsonl").read_text().splitlines() if (folder / "log.jsonl").exists() else []
    return [json.loads(line)["loss"] for line in lines]


def _until_it_trains(folder: Path, processes: list[subprocess.Popen]) -> None:
    end = time.monotonic() + PATIENCE
    while len(_losses(folder)) < 2:
        assert time.monotonic() < end and all(process.poll() is None for process in processes)
        time.sleep(0.1)


def test_sigterm_to_one_stops_both_and_one_goes_on(project, monkeypatch, capsys) -> None:
    command = ["particles.star", *FAMILIES["mlp"], *OPTIONS, "--path", "run", "--requeue", "--niter"]
    processes = _start_two(project, *command, "400")
    _until_it_trains(project / "run", processes)
    processes[1].send_signal(signal.SIGTERM)
    (code, told, error), second = _finish(processes)
    assert code == 143 and "stopped as the system asked" in error and error.count("\n") == 1
    assert second[0] == 143 and second[2] == "" and "particles" not in second[1]
    assert "process 0 of 2, 1 of 2 devices" in told
    steps = len(_losses(project / "run"))
    assert 2 <= steps < 1600
    # The same configuration with fewer epochs: both runs are cut after whole epochs.
    config = json.loads((project / "run" / "config.json").read_text())
    epochs = steps // 4 + 1
    config["training"]["epochs"] = epochs
    (project / "run" / "config.json").write_text(json.dumps(config))
    ((code, _, error),) = _finish([_start(project, *command, str(epochs))])
    assert code == 0, error
    monkeypatch.chdir(project)
    assert main([*command, str(epochs)]) == 0
    assert "run: this run is finished" in capsys.readouterr().out
    ((code, _, error),) = _finish([_start(project, *command[:-4], "--path", "whole", "--niter", str(epochs))])
    assert code == 0, error
    np.testing.assert_allclose(_losses(project / "run"), _losses(project / "whole"), rtol=1e-4)
    assert len((project / ".eman2log.txt").read_text().splitlines()) == 4, "process 0 alone writes the log"


def test_a_killed_process_ends_the_other_with_one_line(project) -> None:
    processes = _start_two(project, "particles.star", *NETWORK, *OPTIONS, "--path", "killed", "--niter", "4000")
    _until_it_trains(project / "killed", processes)
    processes[1].kill()
    (code, _, error), _ = _finish(processes)
    assert code == 1
    assert (
        error == "e2hype_refine.py: process 1 has died or cannot be reached any more; its own messages may say why.\n"
    )
