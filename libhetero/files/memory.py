"""Whether the machine can hold what will be computed: told before it is tried, for a runtime that runs out aborts."""

from __future__ import annotations

from pathlib import Path

from libhetero.errors import ConfigurationError
from libhetero.telling import byte_size


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that are free, on the machine or in the control group of the process.

    Parameters
    ----------
    root : folder of the files in which Linux says so.

    Returns
    -------
    None where nobody says, as on other systems.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    group = root / "sys/fs/cgroup"
    try:
        limit, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
    except OSError:
        return free
    return free if limit.strip() == "max" else min(free, int(limit) - int(used))


def require_memory(needed: float, what: str, remedy: str) -> None:
    """Refuse to begin what the machine's memory cannot hold.

    Parameters
    ----------
    needed : bytes, roughly.
    what : needs them, its option first.
    remedy : what the user can do, without a full stop.

    Raises
    ------
    ConfigurationError : saying what is needed and what is free.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise ConfigurationError(
            f"{what}: about {byte_size(round(needed))} of memory needed, {byte_size(free)} free; {remedy}."
        )
