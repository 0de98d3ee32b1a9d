"""One process, or one group of processes, at a time trains in a run folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from libhetero.errors import ConfigurationError
from libhetero.files import lock_file, sweep, writing_error
from libhetero.training import sharding


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which ends with the process however that ends.

    Process 0 holds it, on the file `.lock`, which says who does, to other machines too, which do not see the lock, and
    says nothing once it is given back; it first puts in order what a killed program left.

    Raises
    ------
    ConfigurationError : in every process, if another run holds it, naming it.
    """
    with ExitStack() as stack:
        refusal = sharding.said_by_writer(lambda: _take(stack, Path(folder)))
        if refusal:
            raise ConfigurationError(refusal)
        yield


def _take(stack: ExitStack, folder: Path) -> str:
    """Take the lock until the stack ends; return why that cannot be, "" when it is held."""
    path = folder / ".lock"
    try:
        lock = stack.enter_context(lock_file(path))
        if lock.take():
            stack.callback(_given_back, path)
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
            sweep(folder)
            return ""
        holder = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    except OSError as error:
        return str(writing_error(path, error))
    return (
        f"{folder}: {holder} is training in this folder; expected no other run in it. Wait until it ends, stop "
        "it, or name another folder."
    )


def _given_back(path: Path) -> None:
    """Have the lock's file name nobody; what cannot be written or is gone says no more than a lock that is free."""
    with suppress(OSError):
        os.truncate(path, 0)
