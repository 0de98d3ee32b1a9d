"""One mesh axis, `data`, over all devices of all processes.

The batch is cut along its leading axis; parameters, optimiser and metrics are the same on every
device. The step is one function compiled for the whole mesh: XLA inserts the sums over devices
where the loss averages over the batch, so the loss is that of the whole batch on any number of
devices. (`jax.pmap` is in maintenance mode; this is its replacement.) A loss must not scan over
the batch axis, add a row to it or transform its images by an FFT: each gathers the batch on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax._src.distributed import global_state  # its barrier has no public name
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from libhetero.errors import UserError

AXIS = "data"
PATIENCE = 7 * 24 * 3600 * 1000  # milliseconds


def said_by_writer(text: Callable[[], str]) -> str:
    """Return text() of process 0, called there only, in every process; a `UserError` there is raised in every one."""
    return sent_by_writer(lambda: text().encode()).decode()


def sent_by_writer(data: Callable[[], bytes]) -> bytes:
    """Return data() of process 0, called there only, in every process; a `UserError` there is raised in every one."""
    if jax.process_count() == 1:
        return data()
    failure: UserError | None = None
    found = b""
    if is_writer():
        try:
            found = data()
        except UserError as error:
            failure, found = error, str(error).encode()
    length, failed = np.asarray(
        multihost_utils.broadcast_one_to_all(np.array([len(found), failure is not None], np.int32))
    )
    sent = np.frombuffer(found, np.uint8) if is_writer() else np.zeros(length, np.uint8)
    heard = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8).tobytes() if length else b""
    if failed:
        raise failure or UserError(heard.decode())
    return heard


def is_writer() -> bool:
    """Return whether this process writes the files of the run (process 0)."""
    return jax.process_index() == 0


def wait_for_all(place: str) -> None:
    """Return once every process has come to `place`, a name used once."""
    if jax.process_count() > 1:  # not on the devices, whose collectives give up after some minutes
        client: Any = global_state.client  # one there is, of several processes
        client.wait_at_barrier(place, PATIENCE)


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the mesh over `devices`, by default all devices of all processes."""
    return Mesh(np.asarray(jax.devices() if devices is None else list(devices)), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays cut along their leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def seen_by_writer(path: Path) -> bool:
    """Return whether process 0 sees the file: it may have made it since, or another one may not see it yet."""
    return said_by_writer(lambda: str(path.exists())) == "True"


def padded_size(batch_size: int, mesh: Mesh, parts: int = 1) -> int:
    """Return `batch_size` rounded up to a multiple of the devices × `parts`; the rest is padding."""
    share = mesh.size * parts
    return -(-batch_size // share) * share


def local_rows(size: int) -> slice:
    """Return the rows of a batch of `size` that this process reads."""
    share = size // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """Put this process's rows of a batch on its devices, as part of the whole batch."""
    sharding = over_batch(mesh)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)), batch)


def place_replicated(tree: Any, mesh: Mesh) -> Any:
    """Put the same arrays on every device."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, np.asarray(array), np.shape(array)), tree
    )


def on_first_device(tree: Any) -> Any:
    """Return arrays that every device holds whole as this process's first device has them."""
    return jax.tree.map(lambda array: array.addressable_data(0), tree)


def compile_step(step: Callable, mesh: Mesh) -> jax.stages.Wrapped:
    """Compile step(state, batch) -> (state, metrics) for the mesh; the old state is given up."""
    whole, cut = replicated(mesh), over_batch(mesh)
    return jax.jit(step, in_shardings=(whole, cut), out_shardings=(whole, whole), donate_argnums=0)
