"""When checkpoints are due by the clock, of one process and of several."""

import numpy as np
import pytest

from libhetero.training import clock
from libhetero.training.clock import SECONDS, CheckpointClock


class Watch:
    """A clock that goes on by so many seconds a step."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def steps_due(found: CheckpointClock, watch: Watch, steps: int, seconds: float, cost: float = 0.0) -> list[int]:
    """Return the steps after which checkpoints, each of which costs so much, are due."""
    due = []
    for step in range(1, steps + 1):
        watch.time += seconds
        if found.due(step):
            due.append(step)
            with found.paid(step):
                watch.time += cost
    return due


@pytest.mark.parametrize(("seconds", "expected"), [(7.0, [9, 18, 27]), (100.0, list(range(1, 31))), (0.1, [])])
def test_a_killed_run_loses_a_minute_or_a_step(seconds, expected) -> None:
    watch = Watch()
    assert steps_due(CheckpointClock(0, watch), watch, 30, seconds) == expected


def test_checkpoints_take_a_twentieth_of_the_time_at_most() -> None:
    watch, cost = Watch(), 20.0
    due = steps_due(CheckpointClock(0, watch), watch, 2000, 1.0, cost)
    assert due[0] == SECONDS and 4 <= len(due) < 10
    spent = cost * (len(due) - 1)  # the first is a surprise
    assert spent <= 0.05 * (due[-1] - due[0] + spent)


@pytest.mark.parametrize("pace", [0.01, 1.0, 45.0])
def test_several_processes_write_at_one_step_and_talk_seldom(pace, monkeypatch) -> None:
    """The clock of the second process is of no account: it hears when to write, and when to listen again."""
    monkeypatch.setattr(clock.jax, "process_count", lambda: 2)
    said: list[tuple[int, str]] = []
    watch, other = Watch(), Watch()
    monkeypatch.setattr(clock.sharding, "said_by_writer", lambda text: (said.append((step, text())), said[-1][1])[1])
    first, step = CheckpointClock(0, watch), 0
    due = []
    for step in range(1, int(200 / pace) + 2):
        watch.time += pace
        if first.due(step):
            due.append(step)
            with first.paid(step):
                pass
    assert due and all(SECONDS - pace <= pace * gap <= SECONDS + 2 * pace for gap in np.diff([0, *due]))
    assert len(said) < 60
    told = dict(said)
    monkeypatch.setattr(clock.sharding, "said_by_writer", lambda text: told[step])
    second, found = CheckpointClock(0, other), []
    for step in range(1, int(200 / pace) + 2):
        if second.due(step):
            found.append(step)
            with second.paid(step):
                other.time += 17.0
    assert found == due


def test_after_going_back_the_minute_begins_anew() -> None:
    watch = Watch()
    found = CheckpointClock(0, watch)
    watch.time += SECONDS - 1
    found.restart(3)
    watch.time += 2
    assert not found.due(4)
    watch.time += SECONDS
    assert found.due(5)
