"""Ctrl-C and the system's signals: the first asks, a second Ctrl-C ends at once."""

import os
import signal
import time
from collections.abc import Iterator

import jax
import pytest

from libhetero.errors import INTERRUPTED, TERMINATED, StoppedEarly
from libhetero.telling.stopping import stopped_early
from libhetero.training import interruption
from libhetero.training.interruption import StopRequest
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig
from tests.making.feeds import Signalling, make_feed
from tests.making.signals import heard_as_in_a_terminal, noted_ends, send
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=4, batch_size=8, learning_rate=0.01, seed=3, report_every=1)


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    with heard_as_in_a_terminal():
        yield


@pytest.fixture
def left(monkeypatch) -> list[tuple[int, str]]:
    return noted_ends(monkeypatch, interruption)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_stop_and_a_second_ctrl_c_ends_at_once(number, left, caplog, monkeypatch) -> None:
    caplog.set_level("INFO")
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.after(1)
        send(number, lambda: "Ctrl-C once more ends at once" in caplog.text)
        assert stop.after(2) and stop.interrupted == (number == signal.SIGINT) and not left
        monkeypatch.setattr(interruption, "ONE_PRESS", 0.0)
        send(signal.SIGINT, lambda: left)
    assert left == [(INTERRUPTED, "ended at once. Go on with the same command.")]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_before_the_first_step_there_is_nothing_to_wait_for(number, code, left) -> None:
    with StopRequest():
        send(number, lambda: left)
    assert [found[0] for found in left] == [code] and "before the first step" in left[0][1]


def test_what_ends_a_run_at_once_names_it_what_is_kept_of_it_and_how_to_go_on(left, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(interruption, "ONE_PRESS", 0.0)
    for step in ("0", "40", "80.orbax-checkpoint-tmp-1"):
        (tmp_path / "checkpoints" / step).mkdir(parents=True)
    with StopRequest(tmp_path, f"--resume {tmp_path}") as stop:
        stop.after(47)
        send(signal.SIGINT, lambda: stop.interrupted)
        send(signal.SIGINT, lambda: left)
    kept = f"{tmp_path}: ended at once; the checkpoint of step 40 is kept, the 7 step(s) after it are lost."
    assert left == [(INTERRUPTED, f"{kept} Go on with --resume {tmp_path}.")]


def test_training_hears_for_itself_and_gives_signals_back_to_the_work_around_it() -> None:
    with pytest.raises(StoppedEarly, match="the whole"), stopped_early(lambda: "the whole."):
        with StopRequest() as inner:
            inner.after(1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.after(2)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)


def test_one_press_that_comes_twice_is_one_and_so_is_a_signal_that_a_queue_repeats(left, caplog, monkeypatch) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(interruption, "ONE_PRESS", 3600.0)
    with StopRequest() as stop:
        stop.after(1)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            send(number, lambda: "once more" in caplog.text)
        time.sleep(0.05)
        assert stop.after(2)
    assert not left


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            stop.after(1)
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.after(2)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_of_several_processes_ctrl_c_is_handed_on_as_the_signal_that_all_agree_on(left, monkeypatch) -> None:
    monkeypatch.setattr(interruption.jax, "process_count", lambda: 2)
    asked, agreed = [], {3}
    monkeypatch.setattr(interruption.multihost_utils, "reached_preemption_sync_point", lambda step: step in agreed)
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        with StopRequest() as stop:
            assert not stop.after(1)
            send(signal.SIGINT, lambda: asked)
            assert asked == [signal.SIGTERM] and stop.interrupted
            assert [stop.after(step) for step in (2, 3)] == [False, True]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not left


@pytest.mark.parametrize("when", ["progress", "observe"])
def test_who_asks_during_the_last_step_or_its_checkpoint_is_heard(when, tmp_path) -> None:
    """Latents, which take long, are then written by --resume."""
    model, calls = Toy(), []

    def ask(*arguments) -> None:
        calls.append(arguments[0])
        if arguments[0] in (1.0, 28):  # progress at its end, the last step
            os.kill(os.getpid(), signal.SIGTERM)

    params = model.init(jax.random.key(0))
    first = train(model, params, make_feed(), CONFIG, tmp_path, **{when: ask})
    assert not first.finished and first.step == 28 and calls[-1] in (1.0, 28)
    second = train(model, params, make_feed(), CONFIG, tmp_path, resume=True)
    assert second.finished and second.step == 28 and not len(second.losses)


def test_ctrl_c_in_training_loses_no_step(tmp_path) -> None:
    model = Toy()
    params = model.init(jax.random.key(0))
    first = train(model, params, Signalling(make_feed(), 12, signal.SIGINT), CONFIG, tmp_path)
    assert not first.finished and first.interrupted and first.step > 7
    second = train(model, params, make_feed(), CONFIG, tmp_path, resume=True)
    assert second.finished and first.step + len(second.losses) == 28
