"""How much memory a run has needed so far."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Return the most bytes in use so far: on this process's fullest device, or of this process.

    The second where devices do not tell, as on the CPU.
    """
    import jax  # not where a log is only read, as by the dashboard's server, which has no use of it

    told = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in told if "peak_bytes_in_use" in stats]
    if peaks:
        return int(max(peaks))
    return peak_resident_memory()


def peak_resident_memory() -> int:
    """Return the most bytes of the machine's memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose getrusage begins with the peak of whoever started the process
        found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
