"""The streams of a program as a shell hands them over: closed, of any encoding, or with a reader that goes away.

What people read is written with Å, ×, — and the names of their files. A terminal without these characters reads the
nearest that it has ("A", "x", "-"), and a name that is no text its own bytes; nothing is ever half told.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

HANDLER = "libhetero.nearest"  # of what an encoding cannot hold
_NEAREST = {
    "Å": "A",
    "µ": "u",
    "²": "2",
    "³": "3",
    "½": "1/2",
    "×": "x",
    "÷": "/",
    "±": "+-",
    "⊙": "*",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "√": "sqrt",
    "σ": "sigma",
    "°": " degrees",
}


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands in place of characters that an encoding does not have, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that was no text
        return bytes([ord(character) - 0xDC00]), error.start + 1
    nearest = character.encode("ascii", "backslashreplace").decode()
    return _NEAREST.get(character, nearest), error.start + 1


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Let every text be written to stdout and stderr, for the time of the call, whatever the shell gave.

    A descriptor that is closed becomes one that takes everything: the next file opened would otherwise get its
    number, and what is printed would land in that file.
    """
    codecs.register_error(HANDLER, _nearest)
    for descriptor in (0, 1, 2):
        _open(descriptor)
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    changed = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    for stream, _ in changed:
        stream.reconfigure(errors=HANDLER)
    try:
        yield
    finally:
        for stream, errors in changed:
            with contextlib.suppress(OSError, ValueError):  # what it still held has nowhere to go
                stream.reconfigure(errors=errors)


def _open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _nowhere() -> Any:
    return open(os.devnull, "w", encoding="utf-8")  # until the process ends


def forget(stream: Any) -> None:
    """Let a stream whose reader has gone, or whose disk is full, take everything from now on."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def tell(line: str) -> None:
    """Print one line on stderr after all that stdout holds; where nobody reads it, nothing happens."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{line}\n")):
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):
            forget(stream)
