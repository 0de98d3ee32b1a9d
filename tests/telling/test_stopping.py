"""Work that is asked to stop is left at once, says what is kept, and does not wait for native code."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from libhetero.errors import INTERRUPTED, TERMINATED, StoppedEarly
from libhetero.telling import stopping
from libhetero.telling.stopping import Asked, by_user, stopped_early
from tests.making.signals import heard_as_in_a_terminal, noted_ends, send


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    with heard_as_in_a_terminal():
        yield


@pytest.fixture
def left(monkeypatch) -> list[tuple[int, str]]:
    return noted_ends(monkeypatch, stopping)


@pytest.mark.parametrize(
    ("number", "code", "who"),
    [
        (signal.SIGINT, INTERRUPTED, "by Ctrl-C"),
        (signal.SIGTERM, TERMINATED, "as the system asked"),
        (signal.SIGHUP, TERMINATED, "as the system asked"),
    ],
)
def test_work_is_left_at_once_and_says_what_is_kept(number, code, who) -> None:
    before, kept = signal.getsignal(number), []
    with pytest.raises(StoppedEarly) as stopped, stopped_early(lambda: f"kept: {kept}."):
        try:
            os.kill(os.getpid(), number)
            time.sleep(20)
        finally:
            kept.append("what was cleaned up")
    assert str(stopped.value) == f"stopped {who}; kept: ['what was cleaned up']." and stopped.value.code == code
    assert signal.getsignal(number) == before


def test_a_part_of_the_work_says_more_closely_what_is_kept(left) -> None:
    with pytest.raises(StoppedEarly, match="a part"), stopped_early(lambda: "the whole."):
        with stopped_early(lambda: "a part."):
            send(signal.SIGTERM, lambda: False)
    with pytest.raises(StoppedEarly, match="the whole"), stopped_early(lambda: "the whole."):
        with stopped_early(lambda: "a part."):
            pass
        send(signal.SIGTERM, lambda: False)
    assert not left


def test_a_part_that_has_nothing_to_say_leaves_it_to_the_one_around_it(left, monkeypatch) -> None:
    with pytest.raises(StoppedEarly, match="as the system asked; the whole"), stopped_early(lambda: "the whole."):
        with stopped_early(lambda: None):
            send(signal.SIGTERM, lambda: False)
    assert not left
    with stopped_early(lambda: "the whole."), stopped_early(lambda: None):
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT, lambda: False)
        monkeypatch.setattr(stopping, "ONE_PRESS", 0.0)
        send(signal.SIGINT, lambda: left)
    assert left == [(INTERRUPTED, "ended at once; the whole.")]


def test_what_is_put_in_order_is_not_cut_short_by_a_queue_that_asks_again(left, monkeypatch) -> None:
    in_order = []
    with pytest.raises(StoppedEarly), stopped_early(lambda: "the whole."):
        try:
            send(signal.SIGTERM, lambda: False)
        finally:
            monkeypatch.setattr(stopping, "ONE_PRESS", 0.0)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            in_order.append(True)
    assert in_order and not left


def test_a_second_ctrl_c_ends_the_process_though_the_work_does_not_end(left, monkeypatch) -> None:
    with stopped_early(lambda: "the whole."), stopped_early(lambda: "a part."):
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT, lambda: False)
        os.kill(os.getpid(), signal.SIGINT)  # the same press, handed on by another program: not raised again
        time.sleep(0.05)
        assert not left
        monkeypatch.setattr(stopping, "ONE_PRESS", 0.0)
        send(signal.SIGINT, lambda: left)
    assert left == [(INTERRUPTED, "ended at once; a part.")]


def test_native_code_that_does_not_return_is_not_waited_for(left, monkeypatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.05)
    with pytest.raises(StoppedEarly), stopped_early(lambda: "the whole."):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while not left:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000)  # half a second, in which no handler can run
    assert left == [(TERMINATED, "stopped as the system asked; the whole.")]


def test_a_signal_that_is_ignored_or_left_to_others_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopped_early(lambda: "the whole.", left=(signal.SIGTERM,)):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGHUP)


def test_another_thread_hears_nothing_and_takes_ctrl_c_as_it_comes() -> None:
    found: list[object] = []

    def work() -> None:
        try:
            with stopped_early(lambda: "a part."):
                raise KeyboardInterrupt
        except StoppedEarly as stopped:
            found.append(str(stopped))

    with stopped_early(lambda: "the whole."):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == ["stopped by Ctrl-C; a part."]


def test_ctrl_c_alone_is_told_to_all_programs_of_a_terminal() -> None:
    assert by_user(KeyboardInterrupt()) and by_user(Asked(signal.SIGINT)) and not by_user(Asked(signal.SIGTERM))


LEAVES = """
import signal, sys, time
from libhetero.telling.stopping import before_leaving, stopped_early
signal.signal(signal.SIGINT, signal.default_int_handler)
def kept():
    raise ValueError("nobody knows")
with before_leaving(lambda: open("told", "w").close()), stopped_early(kept):
    try:
        print("something")
        open("begun", "w").close()
        time.sleep(60)
    finally:
        time.sleep(60)
"""


def test_a_process_whose_reader_has_gone_ends_at_once_by_a_second_ctrl_c(tmp_path) -> None:
    """Whatever is wrong with its line; others are told first."""
    environment = os.environ | {"PYTHONPATH": str(Path(stopping.__file__).parents[2])}
    environment.pop("PYTHONUNBUFFERED", None)
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen([sys.executable, "-c", LEAVES], cwd=tmp_path, stdout=writer, env=environment)
    os.close(writer)
    limit = time.monotonic() + 30
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(2 * stopping.ONE_PRESS)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == INTERRUPTED
    assert (tmp_path / "told").exists()
