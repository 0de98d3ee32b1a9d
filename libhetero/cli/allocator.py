"""Keep freed memory for the next step of a computation.

A compiled step allocates its temporary memory anew each time it runs. glibc's allocator gives
blocks of more than 32 MiB back to the system when they are freed, so every step would have all its
pages mapped and zeroed again: on two CPU cores that is up to two thirds of a training step.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping

_KEPT_BYTES = 2**31 - 1
_GROWN_BY_BYTES = 2**26
_OPTIONS = {  # of mallopt, malloc.h, by the variable that sets it: number and value
    "MALLOC_MMAP_MAX_": (-4, 0),
    "MALLOC_TRIM_THRESHOLD_": (-1, _KEPT_BYTES),
    "MALLOC_TOP_PAD_": (-2, _GROWN_BY_BYTES),
}


def keep_freed_memory(environment: Mapping[str, str]) -> bool:
    """Tell glibc's allocator to hold up to 2 GiB of freed memory; return whether it does.

    Parameters
    ----------
    environment : the present environment. A user who set GLIBC_TUNABLES or a MALLOC_… variable,
        or who loads another allocator, has decided: nothing is changed. Nor is it elsewhere than
        on Linux with glibc.
    """
    if not _may_choose(environment):
        return False
    set_option = ctypes.CDLL(None).mallopt
    return all([set_option(option, value) == 1 for option, value in _OPTIONS.values()])  # noqa: C419 (each is set)


def allocator_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which processes started from here do the same; none where we may not.

    Parameters
    ----------
    environment : as in `keep_freed_memory`.
    """
    if not _may_choose(environment):
        return {}
    return {name: str(value) for name, (_, value) in _OPTIONS.items()}


def _may_choose(environment: Mapping[str, str]) -> bool:
    chosen = {"GLIBC_TUNABLES", "LD_PRELOAD"} & environment.keys()
    if chosen or any(name.startswith("MALLOC_") for name in environment):
        return False
    return platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
