"""Progress passes blocks on, tells the caller how far it is, and speaks now and then."""

import io
import logging
import os
import re
import sys

import pytest

from libhetero.telling import progress
from libhetero.telling.progress import Counts, Progress, tracked


def test_blocks_pass_and_fractions_rise(monkeypatch, caplog):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    caplog.set_level(logging.INFO, "libhetero")
    fractions = []
    blocks = [[1, 2], [3, 4], [5]]
    assert list(tracked(blocks, 5, "decoding", progress=fractions.append)) == blocks
    assert fractions == pytest.approx([0.4, 0.8, 1.0])
    assert "decoding 5/5" in caplog.text and "s left" in caplog.text


def test_nothing_is_no_error():
    assert list(tracked([], 0, "decoding")) == []


class Terminal(io.StringIO):
    """A stream that passes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_with_the_rate(monkeypatch, caplog) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    caplog.set_level(logging.INFO, "libhetero")
    with Progress("step", 4, unit="steps", lasting=True) as shown:
        shown.show(2, "loss 0.5")
        shown.restart(1)
        shown.show(4, "loss 0.25")
    assert caplog.text == ""
    assert screen.getvalue().splitlines()[-1].startswith("step 100%")
    assert re.search(r"4/4, loss 0.25, .* steps/s, 0 s left", screen.getvalue())
    with Progress("step", 4, lasting=True) as shown:
        shown.show(2, "a long note of a line", "12 s left")
    assert "2/4, 12 s left" in screen.getvalue() and "long" not in screen.getvalue()


def test_a_terminal_without_columns_has_lines(monkeypatch, caplog) -> None:
    """As a pseudo-terminal has whose size nobody has set: a bar would be nothing."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(screen, "fileno", lambda: 2)
    monkeypatch.setattr(progress.os, "get_terminal_size", lambda descriptor: os.terminal_size((0, 0)))
    caplog.set_level(logging.INFO, "libhetero")
    with Progress("step", 4, lasting=True) as shown:
        shown.show(4)
    assert (screen.getvalue(), caplog.messages) == ("", ["step 4/4"])


def test_quiet_programs_have_no_bar(monkeypatch, caplog) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    caplog.set_level(logging.WARNING, "libhetero")
    with Progress("step", 1, lasting=True) as shown:
        shown.show(1)
    assert (screen.getvalue(), caplog.text) == ("", "")


def test_counts_follow_each_other_and_one_is_passed_on(caplog) -> None:
    caplog.set_level(logging.INFO, "libhetero")
    fractions = []
    with Counts("particles", fractions.append) as counts:
        for what, total in (("structures", 2), ("particles", 4)):
            for done in range(total + 1):
                counts(what, done, total)
    assert fractions == [0, 0.25, 0.5, 0.75, 1]
    assert [message.split(",")[0] for message in caplog.messages] == ["structures 2/2", "particles 4/4"]


def test_what_a_line_was_told_of_is_told_of_to_its_end(monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO, "libhetero")
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def slow(count, seconds):
        for number in range(count):
            now[0] += seconds
            yield [number]

    list(tracked(slow(8, 1.0), 8, "volumes", unit="volumes"))
    assert [message.split(",")[0] for message in caplog.messages] == ["volumes 6/8", "volumes 8/8"]
    assert "volumes/s" in caplog.text and "particles" not in caplog.text
    caplog.clear()
    list(tracked(slow(8, 0.1), 8, "volumes"))
    assert not caplog.messages, "short work needs no line"
