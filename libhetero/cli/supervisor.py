"""A parent for each process of a run over several: it turns the end of the run's others into one line.

When JAX's coordination service loses a process it aborts the remaining ones from C++, with pages of log
that name the culprit once. No handler in such a process can prevent that, so the program starts itself
again as a child, passes its stderr on, and has the reason read out of what the service wrote last
(`runtime_log`). Any other abort is passed on unchanged. The child ends when its parent does.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

from libhetero.cli.compiler_log import Sorter
from libhetero.cli.runtime_log import follow
from libhetero.errors import INTERRUPTED, TERMINATED

LIFELINE = "LIBHETERO_LIFELINE"  # descriptor whose end tells the child that its parent is gone
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def is_one_of_several(options: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    """Return whether this process will compute together with others, as far as can be told without JAX."""
    if getattr(options, "coordinator", None):
        return getattr(options, "nprocs", None) != 1
    if not hasattr(options, "coordinator"):
        return False
    counts = (
        environment.get(name, "1") for name in ("JAX_NUM_PROCESSES", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    )
    return any(count not in ("", "0", "1") for count in counts) or "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def hold_to_parent(environment: Mapping[str, str]) -> bool:
    """End this process when its supervisor ends; return whether it has one."""
    if LIFELINE not in environment:
        return False
    descriptor = int(environment[LIFELINE])

    def wait() -> None:
        os.read(descriptor, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    return True


def supervise(program: str) -> int:
    """Run this command again as a child and return its exit code, or 1 after a line on what ended the run."""
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        stderr=subprocess.PIPE,
        pass_fds=(read,),
        start_new_session=True,
        env=os.environ | {LIFELINE: str(read)},
        text=True,
        errors="replace",
    )
    os.close(read)
    before = {number: signal.signal(number, lambda n, _: child.send_signal(n)) for number in _FORWARDED}
    try:
        sorter = Sorter()
        held, reason = follow(child.stderr or (), lambda line: _tell(sorter, line))
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(write)
    if code and reason is not None:
        print(f"{program}: {reason}", file=sys.stderr, flush=True)
        return 1
    if code not in (0, TERMINATED, INTERRUPTED):  # the service notes these too
        sys.stderr.write(held)
    return code if code >= 0 else 128 - code


def _tell(sorter: Sorter, line: str) -> None:
    for told in sorter.told(line):
        sys.stderr.write(told)
    sys.stderr.flush()
