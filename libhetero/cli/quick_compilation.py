"""Quick compilation to slower code, for work so small that compiling it takes longer than computing it.

XLA compiles for processors with optimisations that pay off in long training. The demo and the tests run each program
on little data, for a moment: there the older emitters, each program in one piece, take a fifth of the time. Nor do
NumPy's products of such matrices gain by several threads, which wait for each other on busy processors.
"""

from __future__ import annotations

import functools
import importlib.util
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path

FLAGS = "XLA_FLAGS"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
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
    return [flag for flag in flags if _holds(library, flag.removeprefix("--").split("=")[0])]


@functools.cache
def _holds(library: Path, text: str) -> bool:
    """Return whether a library of some hundred MB holds a text of its own, which is looked for once."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        return held.find(b"\0%b\0" % text.encode()) >= 0


def quick_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables by which programs that are started from here lose no time on little data.

    Parameters
    ----------
    environment : the present environment. A variable that the user has set is left as it is.
    """
    found = dict.fromkeys(ONE_THREAD, "1")
    if flags := known(QUICK):
        found[FLAGS] = " ".join(flags)
    return {name: value for name, value in found.items() if name not in environment}
