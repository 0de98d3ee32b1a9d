"""Who computes together, and what is said when they do not meet."""

import socket

import pytest

from libhetero.errors import ConfigurationError, PeerError
from libhetero.training import processes
from libhetero.training.processes import Processes, processes_asked, slurm_devices

VARIABLES = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2"}


def test_options_come_before_variables_and_these_before_the_cluster() -> None:
    slurm = {"SLURM_STEP_NUM_TASKS": "4"}
    assert processes_asked("b:2", 2, 1, VARIABLES | slurm) == Processes("b:2", 2, 1)
    assert processes_asked(None, None, None, VARIABLES | slurm) == Processes("a:1", 3, 2)
    for found in (slurm, {"OMPI_COMM_WORLD_SIZE": "2"}, {"TPU_WORKER_HOSTNAMES": "a,b"}):
        assert processes_asked(None, None, None, found) == Processes("auto")
    for alone in ({}, {"SLURM_STEP_NUM_TASKS": "1"}, {"TPU_WORKER_HOSTNAMES": "a"}):
        assert processes_asked(None, None, None, alone) is None


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ((None, 2, 0), "need --coordinator"),
        (("a:1", 2, None), "belong together"),
        (("a:1", None, 0), "belong together"),
        (("a", 2, 0), "expected HOST:PORT"),
        (("a:70000", 2, 0), "expected HOST:PORT"),
        (("a:1", 0, 0), "--nprocs is 0"),
        (("a:1", 2, 2), "--procid is 2; expected 0 to 1"),
        (("a:1", 2, -1), "--procid is -1"),
        (("auto", 2, 0), "leave them out"),
    ],
)
def test_half_of_the_options_and_values_out_of_range_are_refused(asked, line) -> None:
    with pytest.raises(ConfigurationError, match=line):
        processes_asked(*asked, {})


def test_variables_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="JAX_PROCESS_ID=x"):
        processes_asked(None, None, None, VARIABLES | {"JAX_PROCESS_ID": "x"})


def test_an_unreachable_coordinator_is_named_with_the_remedy() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
        with pytest.raises(PeerError, match=f"{address}: no process 0 answered within 0 s .*--procid 0"):
            processes._reach(address, 0)


def test_one_process_alone_joins_nobody() -> None:
    told = []
    with processes.joined(None, lambda index, count: told.append((index, count))):
        pass
    assert told == [(0, 1)]


@pytest.mark.parametrize(
    ("visible", "local", "more", "taken"),
    [
        ("0,1,2,3", "2", {"SLURM_STEP_TASKS_PER_NODE": "4(x4)"}, None),  # JAX takes GPU 2
        ("3", "3", {"SLURM_STEP_TASKS_PER_NODE": "4"}, [0]),  # --gpu-bind: one is seen
        ("0,1", "0", {"SLURM_GPUS_PER_TASK": "2"}, [0, 1]),
        ("2,3", "1", {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_GPUS_ON_NODE": "4"}, [0, 1]),  # --gpu-bind: two are
        ("0,1,2,3", "1", {"SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_GPUS_ON_NODE": "4"}, None),
        ("0,1,2,3", "0", {"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, [0, 1, 2, 3]),
        ("0,1", "0", {"SLURM_STEP_TASKS_PER_NODE": "1", "JAX_LOCAL_DEVICE_IDS": "1"}, None),
        ("", "1", {"SLURM_STEP_TASKS_PER_NODE": "2"}, None),  # no GPUs
    ],
)
def test_a_slurm_task_takes_the_gpus_that_are_its_own(visible, local, more, taken) -> None:
    assert slurm_devices({"CUDA_VISIBLE_DEVICES": visible, "SLURM_LOCALID": local, **more}) == taken
    assert slurm_devices({"CUDA_VISIBLE_DEVICES": visible, **more}) is None  # not in a Slurm task
