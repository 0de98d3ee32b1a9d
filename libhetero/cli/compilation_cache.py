"""Where compiled programs are kept, so that the second run of a program starts at once.

JAX's persistent compilation cache is switched on by environment variables that it reads when
it loads. The folder is named after the machine's instruction set: code compiled for one
processor must not be loaded on another that shares the home folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of this machine's compiled programs in the user's cache folder."""
    home = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "libhetero" / f"jax-{platform.machine()}-{_instruction_set()}"


def cache_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that switch the cache on.

    Parameters
    ----------
    environment : the present environment. A user who set JAX_COMPILATION_CACHE_DIR or
        JAX_ENABLE_COMPILATION_CACHE has decided: nothing is returned.

    Returns
    -------
    Empty when the folder cannot be made or written: a cache is never worth a failure.
    """
    if environment.keys() & {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"}:
        return {}
    try:
        folder = cache_folder(environment)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return {}
    if not os.access(folder, os.W_OK | os.X_OK):
        return {}
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        # Both limits are off: with JAX's defaults nothing compiled for a CPU is kept.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _instruction_set() -> str:
    """Return a short name for the processor's instruction set."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return hashlib.sha256(f"{platform.processor()} {flags}".encode()).hexdigest()[:8]
