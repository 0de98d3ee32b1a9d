"""Where compiled programs are kept, so that the second run of a program starts at once.

JAX's persistent compilation cache is switched on by environment variables that it reads when
it loads. The folder is named after the machine's instruction set: code compiled for one
processor must not be loaded on another that shares the home folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LOGGER = logging.getLogger(__name__)
FOLDER = "JAX_COMPILATION_CACHE_DIR"
_TROUBLE = re.compile(r"Error (?:reading|writing) persistent compilation cache entry for '([^']+)'")


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
    if environment.keys() & {FOLDER, "JAX_ENABLE_COMPILATION_CACHE"}:
        return {}
    try:
        folder = cache_folder(environment)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return {}
    if not os.access(folder, os.W_OK | os.X_OK):
        return {}
    return {
        FOLDER: str(folder),
        # Both limits are off: with JAX's defaults nothing compiled for a CPU is kept.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@contextlib.contextmanager
def one_warning_of_the_cache() -> Iterator[None]:
    """Tell of a cache that cannot be read or written in one line, for the time of the call, and not for every entry.

    JAX compiles anew what it cannot read, but never writes over it; a damaged entry of our own folder is removed, so
    that the next run is spared the same.
    """
    shown, told = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *place: Any, **others: Any) -> None:
        trouble = _TROUBLE.match(str(message))
        if trouble is None:
            shown(message, category, *place, **others)
            return
        folder = Path(os.environ.get(FOLDER, ""))
        if not told:
            LOGGER.warning("%s: the cache of compiled programs is damaged or cannot be written; compiling anew", folder)
        told.add(trouble[1])
        if folder == cache_folder(os.environ):
            for entry in folder.glob(f"{trouble[1]}-*"):
                entry.unlink(missing_ok=True)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _instruction_set() -> str:
    """Return a short name for the processor's instruction set."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return hashlib.sha256(f"{platform.processor()} {flags}".encode()).hexdigest()[:8]
