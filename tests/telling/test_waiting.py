"""Work that takes long says that it goes on; work that does not says nothing."""

from __future__ import annotations

import threading
import time

import pytest

from libhetero.telling import waiting
from libhetero.telling.waiting import working


def test_long_work_is_told_of_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST", 0.02)
    lines, enough = list[str](), threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            enough.set()

    with working(say, "UMAP of 50 % of the particles"):
        assert enough.wait(10)
    told = len(lines)
    assert told >= 3
    assert all(line.startswith("UMAP of 50 % of the particles: ") and line.endswith(" so far") for line in lines)
    assert not [thread for thread in threading.enumerate() if thread.name == "working"], "nothing is told afterwards"


def test_short_work_is_silent_and_its_failure_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST", 0.2)
    lines = list[str]()
    with pytest.raises(ZeroDivisionError), working(lines.append, "division"):
        1 / 0  # noqa: B018  # what fails within
    time.sleep(0.3)
    assert lines == [], "nobody tells of work that has ended"
