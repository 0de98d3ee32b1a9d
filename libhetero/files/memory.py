"""Whether the machine can hold what will be computed: told before it is tried, for a runtime that runs out aborts."""

from __future__ import annotations

from pathlib import Path

from libhetero.errors import ConfigurationError, UserError
from libhetero.telling import byte_size

OF_FILES = ("inactive_file", "active_file")  # of memory.stat: the cache of files, bytes


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that are free, on the machine or in the control group of the process.

    What the system keeps of files that were read counts as free: it gives that up as soon as a program asks for memory.

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
    of_group = _free_in_group(root / "sys/fs/cgroup")
    return free if of_group is None else min(free, of_group)


def _free_in_group(group: Path) -> int | None:
    """Return the bytes that a control group may still use, None where it has no limit."""
    try:
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
    except (OSError, ValueError):  # ValueError: "max"
        return None
    try:
        told = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        kept = sum(int(told.get(name, 0)) for name in OF_FILES)
    except (OSError, ValueError):
        kept = 0
    return max(limit - max(used - kept, 0), 0)


def require_memory(needed: float, what: str, remedy: str, kind: type[UserError] = ConfigurationError) -> None:
    """Refuse to begin what the machine's memory cannot hold.

    Parameters
    ----------
    needed : bytes, roughly.
    what : needs them, its option first.
    remedy : what the user can do, without a full stop.
    kind : of the error, where it is no option that asks for so much.

    Raises
    ------
    UserError : of that kind, saying what is needed and what is free.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise kind(f"{what}: about {byte_size(round(needed))} of memory needed, {byte_size(free)} free; {remedy}.")
