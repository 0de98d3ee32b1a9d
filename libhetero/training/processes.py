"""The processes of one run: joining them, and what one of them says to the others when it fails.

JAX's coordination service, which lives in process 0, keeps them together. Its clients send heartbeats from
threads of their own, which a long compilation does not hold up; a client that misses another process ends
its own with a fatal log entry that `libhetero.cli.supervisor` turns into one line. A process that
fails in good order leaves its line in the service's key-value store first, where a thread of each
other process waits for it: their main threads may sit in a collective for ever.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax._src.distributed import global_state  # its key-value store has no public name

from libhetero.errors import ConfigurationError, PeerError, UserError

LOGGER = logging.getLogger(__name__)
AUTO = "auto"  # in place of an address: JAX finds the others
HEARTBEAT_SECONDS = 30  # without a sign of life, and a process counts as dead
JOINING_SECONDS = 60
POLL_SECONDS = 0.5
TELLING_SECONDS = 3.0  # that a failing process gives the others to read its line
VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
FAILURE = "libhetero/failure"
_LOST = ("Gloo", "NCCL", "coordination", "Connection closed", "Connection reset", "heartbeat")


@dataclass(frozen=True)
class Processes:
    """Who computes together.

    Parameters
    ----------
    coordinator : HOST:PORT where process 0 listens; "auto" lets JAX find it (TPU, Slurm, Open MPI).
    count : processes; None with "auto".
    index : of this one, from 0; None with "auto".
    """

    coordinator: str
    count: int | None = None
    index: int | None = None

    def __post_init__(self) -> None:
        if self.coordinator == AUTO:
            if (self.count, self.index) != (None, None):
                raise ConfigurationError("--coordinator auto finds --nprocs and --procid; leave them out.")
            return
        if self.count is None or self.index is None:
            raise ConfigurationError(
                "--coordinator HOST:PORT, --nprocs N and --procid I belong together; expected all or none."
            )
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigurationError(f"the coordinator is {self.coordinator}; expected HOST:PORT, such as node01:5000.")
        if self.count < 1:
            raise ConfigurationError(f"--nprocs is {self.count}; expected at least 1.")
        if not 0 <= self.index < self.count:
            raise ConfigurationError(
                f"--procid is {self.index}; expected 0 to {self.count - 1}, one less than --nprocs at most."
            )


def processes_asked(
    coordinator: str | None, count: int | None, index: int | None, environment: Mapping[str, str]
) -> Processes | None:
    """Return who computes together: options, then JAX_… variables, then Slurm, Open MPI or TPU; None if alone."""
    if (coordinator, count, index) != (None, None, None):
        if coordinator is None:
            raise ConfigurationError("--nprocs and --procid need --coordinator HOST:PORT of process 0.")
        return Processes(coordinator, count, index)
    found = [environment.get(name, "") for name in VARIABLES]
    if all(found):
        if not (found[1].isdecimal() and found[2].isdecimal()):
            raise ConfigurationError(f"{VARIABLES[1]}={found[1]}, {VARIABLES[2]}={found[2]}: expected whole numbers.")
        return Processes(found[0], int(found[1]), int(found[2]))
    slurm = int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    mpi = int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
    tpu = "," in environment.get("TPU_WORKER_HOSTNAMES", "")
    return Processes(AUTO) if slurm or mpi or tpu else None


@contextlib.contextmanager
def joined(processes: Processes | None, told: Callable[[int, int], None] | None = None) -> Iterator[None]:
    """Compute together with the other processes inside; nothing touches a device before.

    Parameters
    ----------
    processes : None for a process alone.
    told : called with this process's index and their number once they have met.

    Raises
    ------
    PeerError : when another process has failed or cannot be reached.
    """
    if processes is not None and not jax.distributed.is_initialized():
        _join(processes)
    index, count = jax.process_index(), jax.process_count()
    if told is not None:
        told(index, count)
    if count == 1:
        yield
        return
    LOGGER.info("process %d of %d, %d of %d devices", index, count, jax.local_device_count(), jax.device_count())
    line: list[str] = []  # what this process fails with
    done = threading.Event()
    watcher = threading.Thread(target=_await_failure, args=(line, done), daemon=True)
    watcher.start()
    try:
        yield
        done.set()  # a thread inside the service's client would not survive the interpreter's end
        watcher.join()
    except BaseException as error:
        if _lost_another(error):
            time.sleep(2 * _heartbeat())  # the service ends this process with a better reason
        line.append(" ".join(str(error).split()) or type(error).__name__)
        _tell(line[0])
        atexit.register(_leave)  # JAX's own farewell would wait for the others
        raise


def _join(processes: Processes) -> None:
    """Meet the others; a process other than 0 first makes sure that process 0 can be reached."""
    patience = _heartbeat()
    limit = _seconds("LIBHETERO_JOINING_SECONDS", JOINING_SECONDS)
    options: dict[str, Any] = {"initialization_timeout": limit, "heartbeat_timeout_seconds": patience}
    if processes.coordinator == AUTO:
        jax.distributed.initialize(local_device_ids=slurm_devices(os.environ), **options)
        return
    if processes.index:
        _reach(processes.coordinator, limit)
    jax.distributed.initialize(
        processes.coordinator, processes.count, processes.index, cluster_detection_method="deactivate", **options
    )


def slurm_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Return the GPUs that a Slurm task drives, of those it sees; None leaves it to JAX: one, by its place on the node.

    JAX's choice fails where a task sees its own GPUs alone (--gpus-per-task, --gpu-bind) and leaves GPUs idle
    where a node has one task for all of them.
    """
    if "SLURM_LOCALID" not in environment or "JAX_LOCAL_DEVICE_IDS" in environment:
        return None
    seen = len([name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name])
    alone = re.fullmatch(r"1(\(x\d+\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    bound = "SLURM_GPUS_PER_TASK" in environment or int(environment["SLURM_LOCALID"]) >= seen
    bound = bound or seen < int(environment.get("SLURM_GPUS_ON_NODE", 0))
    return list(range(seen)) if seen and (alone or bound) else None


def _heartbeat() -> int:
    return _seconds("LIBHETERO_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)


def _seconds(variable: str, default: int) -> int:
    return int(os.environ.get(variable, default))


def _reach(address: str, limit: float) -> None:
    """Return once somebody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + limit
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() > end:
            raise PeerError(
                f"{address}: no process 0 answered within {limit:g} s ({reason}); start it with --procid 0 "
                "on that machine, and check the name, the port and the firewall."
            )
        time.sleep(0.5)


def _lost_another(error: BaseException) -> bool:
    """Return whether this is what a collective raises when another process is gone."""
    return not isinstance(error, UserError) and any(word in str(error) for word in _LOST)


def _store() -> Any:
    """Return the client of the service's store, which every process of several has."""
    return global_state.client


def _tell(line: str) -> None:
    """Leave the line that this process fails with; end it here if process 0 says the same."""
    index, host = jax.process_index(), socket.gethostname()
    with contextlib.suppress(jax.errors.JaxRuntimeError, ValueError):  # process 0 is gone, and the store with it
        _store().key_value_set(f"{FAILURE}/{index}", f"{index}\n{host}\n{line}")
        time.sleep(TELLING_SECONDS if index else 2 * TELLING_SECONDS)  # the store ends with process 0
        if index and any((other, text) == (0, line) for other, _, text in _failures()):
            _leave()


def _failures() -> list[tuple[int, str, str]]:
    """Return (index, host, line) of every process that has failed in good order, by index."""
    found = [value.split("\n", 2) for _, value in _store().key_value_dir_get(FAILURE)]
    return sorted((int(index), host, line) for index, host, line in found)


def _await_failure(own: list[str], done: threading.Event) -> None:
    """End this process when another one has failed, with its line."""
    found: list[tuple[int, str, str]] = []
    while not found:
        if done.wait(POLL_SECONDS) or own:
            return
        with contextlib.suppress(jax.errors.JaxRuntimeError, ValueError):  # the service is busy, or gone
            found = _failures()
    # Often all fail alike: each then sees to itself. The store, which others still read, ends with process 0.
    if done.wait(TELLING_SECONDS / 2 if jax.process_index() else 2 * TELLING_SECONDS) or own:
        return
    LOGGER.error("process %d on %s failed: %s", *found[0])
    _leave()


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(1)
