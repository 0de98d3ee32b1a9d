"""Reading in a child process of little memory and time: what would eat either ends there and not here."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import resource, sys
from libhetero.errors import DataError
from libhetero.io import read_atoms, read_latent, read_particles, read_volume
before = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmData"))) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (before + {memory}, before + {memory}))
try:
    {call}
except DataError as error:
    print(error)
else:
    sys.exit("nothing was refused")
"""


def refusal(call: str, memory: int = 2**27, seconds: float = 60) -> str:
    """Return the line with which a call is refused.

    Parameters
    ----------
    call : of a reader of `libhetero.io`, as source: "read_volume('map.mrc.gz')".
    memory : bytes that it may take beyond what the imports took.
    seconds : that all of it may take, imports included.

    Raises
    ------
    AssertionError : if it was not refused, or not in one line.
    TimeoutExpired : if it went on.
    """
    code = CHILD.format(memory=memory, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout.strip()
