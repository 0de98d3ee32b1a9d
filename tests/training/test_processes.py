"""Two real processes train as one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = PROJECT / "tests" / "making" / "one_of_two.py"
PATIENCE = 180  # seconds


def _start(folder: Path, place: int, count: int, port: int) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=1"),
        "JAX_PLATFORMS": "cpu",
    }
    if count > 1:
        environment |= {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(place),
        }
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(processes: list[subprocess.Popen]) -> None:
    """Wait for all; kill them hard when they hang, for such processes ignore SIGTERM."""
    try:
        for process in processes:
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            process.kill()


def _seen(folder: Path, place: int) -> dict:
    return json.loads((folder / f"process_{place}.json").read_text())


def test_two_processes_give_the_losses_of_one(tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    _finish([_start(tmp_path / "two", place, 2, port) for place in range(2)])
    _finish([_start(tmp_path / "one", 0, 1, port)])
    one, first, second = (_seen(tmp_path / name, place) for name, place in (("one", 0), ("two", 0), ("two", 1)))
    assert (one["devices"], first["devices"]) == (1, 2)
    assert (first["writer"], second["writer"]) == (True, False)
    np.testing.assert_allclose(first["losses"], one["losses"], rtol=2e-6)
    assert first["losses"] == second["losses"] and first["template"] == second["template"]
    assert one["anchors"] == first["anchors"] == second["anchors"] == [1.5, 1.5, 1.5]
    assert one["heard"] and first["heard"] and second["heard"]
    assert {found["refused"] for found in (one, first, second)} == {"raised: process 0 says no."}
    again = [found["written_again"] for found in (one, first, second)]
    assert [found["kept"] for found in again] == [2.0] * 3
    assert again[2]["made_room"] == 0 < again[1]["made_room"] <= again[2]["began"], "process 1 waits for process 0"
    assert not list((tmp_path / "two" / "run" / "epochs").glob("before_*"))
    assert first["read"] < one["read"] and second["read"] < one["read"]
    assert (tmp_path / "two" / "run" / "log.jsonl").exists()
