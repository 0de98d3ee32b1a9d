"""Signals in tests: heard as in a terminal, and sent to this process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest


@contextmanager
def heard_as_in_a_terminal() -> Iterator[None]:
    """Let Ctrl-C raise, as in a terminal: what starts the tests in the background has it ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def noted_ends(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[tuple[int, str]]:
    """Return what a module would have ended the process with, code and line, as it comes."""
    found: list[tuple[int, str]] = []
    monkeypatch.setattr(module, "leave", lambda code, why: found.append((code, why)))
    return found


def send(number: int, until: Callable[[], object]) -> None:
    """Send this process a signal, and wait for what it brings about."""
    os.kill(os.getpid(), number)
    end = time.monotonic() + 20
    while not until() and time.monotonic() < end:
        time.sleep(0.005)
