"""Hidden names for what is being written, which say whose they are, and what is left of a program that was killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket
import time
from pathlib import Path

LONGEST = 180  # bytes of a name that its temporary name repeats
A_WEEK = 7 * 24 * 3600.0  # seconds after which what another machine has left is nobody's
_THIS_START = "/proc/sys/kernel/random/boot_id"  # of the machine, by which those of one name differ
_PROCESSES = "/proc/self/ns/pid"  # whose numbers mean the same: a container has its own
_OWNER = re.compile(r"\.(?P<host>[0-9a-f]{6})-(?P<process>[0-9]{1,10})-[0-9a-f]{8}\.tmp(\.[^.]*)?$")


def temporary_name(path: Path) -> Path:
    """Return a free hidden name beside `path`, with its suffix, that names this process.

    It is that of nobody else on this machine or another that writes to the same disk.
    """
    stem = os.fsdecode(os.fsencode(path.stem.lstrip("."))[:LONGEST])
    return path.with_name(f".{stem}.{_host()}-{os.getpid()}-{os.urandom(4).hex()}.tmp{path.suffix}")


def is_abandoned(path: Path) -> bool:
    """Return whether a file or folder bears a temporary name whose process is no more.

    Of a process on another machine, in another container, or of before this machine's last start, nobody here can
    tell; what has not been touched for a week counts.
    """
    owner = _OWNER.search(path.name)
    if owner is None or not path.name.startswith("."):
        return False
    if owner["host"] == _host():
        return not _is_alive(int(owner["process"]))
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > A_WEEK
    return False


def remove_whatever(path: Path) -> None:
    """Remove a file or a folder, if there is any and it can be."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _host() -> str:
    """Return letters for the processes that see one another, those of one container or machine."""
    said = [socket.gethostname(), "", ""]
    with contextlib.suppress(OSError):
        said[1] = Path(_THIS_START).read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError):
        said[2] = os.readlink(_PROCESSES)
    return hashlib.sha256(os.fsencode("\0".join(said))).hexdigest()[:6]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True
