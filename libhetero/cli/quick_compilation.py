"""Quick compilation to slower code, for work so small that compiling it takes longer than computing it.

XLA compiles for processors with optimisations that pay off in long training. The demo and the tests run each program
on little data, for a moment: there the older emitters, each program in one piece, take a fifth
of the time.
"""

from __future__ import annotations

import importlib.util
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path

FLAGS = "XLA_FLAGS"
QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")


def known(flags: Iterable[str]) -> list[str]:
    """Return the flags that this version of the compiler knows: an unknown one would end the process.

    A flag is a text of its own in the library; a longer text may hold the name of one that is no more. Where the
    library is not found, none is known.

    Parameters
    ----------
    flags : as in XLA_FLAGS, each with its value.
    """
    package = importlib.util.find_spec("jaxlib")
    library = Path(package.origin).with_name("libjax_common.so") if package and package.origin else None
    if library is None or not library.is_file():
        return []
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return [flag for flag in flags if text.find(b"\0%b\0" % flag.removeprefix("--").split("=")[0].encode()) >= 0]


def quick_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables by which programs that are started from here compile quickly.

    Parameters
    ----------
    environment : the present environment. A user who set XLA_FLAGS has decided: nothing is returned.
    """
    if FLAGS in environment:
        return {}
    flags = known(QUICK)
    return {FLAGS: " ".join(flags)} if flags else {}
