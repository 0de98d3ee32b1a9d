"""Keep freed memory for the next step of a computation.

A compiled step allocates its temporary memory anew each time it runs. glibc's allocator gives
blocks of more than 32 MiB back to the system when they are freed, so every step would have all its
pages mapped and zeroed again: on two CPU cores that is up to two thirds of a training step.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of mallopt, malloc.h
_KEPT_BYTES = 2**31 - 1
_GROWN_BY_BYTES = 2**26


def keep_freed_memory(environment: Mapping[str, str]) -> bool:
    """Tell glibc's allocator to hold up to 2 GiB of freed memory; return whether it does.

    Parameters
    ----------
    environment : the present environment. A user who set GLIBC_TUNABLES or a MALLOC_… variable,
        or who loads another allocator, has decided: nothing is changed. Nor is it elsewhere than
        on Linux with glibc.
    """
    chosen = {"GLIBC_TUNABLES", "LD_PRELOAD"} & environment.keys()
    if chosen or any(name.startswith("MALLOC_") for name in environment):
        return False
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _GROWN_BY_BYTES))
    return all([set_option(option, value) == 1 for option, value in wanted])
