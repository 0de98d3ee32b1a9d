"""Steps spread over processes: every result once, errors as they are, one line for a death."""

import math
import os
import signal

import pytest

from libhetero.errors import DataError
from libhetero.simulate.processes import workers

STEPS = [float(i * i) for i in range(20)]


@pytest.mark.parametrize("processes", [1, 2])
def test_every_step_is_done_once(processes: int) -> None:
    with workers(math.sqrt, processes, {}) as pool:
        assert sorted(pool(iter(STEPS))) == list(range(20))
        assert sorted(pool(STEPS[:1])) == [0] and list(pool([])) == []


def test_the_environment_is_that_of_the_processes() -> None:
    with workers(os.getenv, 2, {"NPROC": "3"}) as pool:
        assert list(pool(["NPROC"])) == ["3"]
    assert os.environ.get("NPROC") != "3"


def test_an_error_arrives_as_it_is() -> None:
    with pytest.raises(ValueError, match="math domain error"), workers(math.sqrt, 2, {}) as pool:
        list(pool([4.0, -1.0, 9.0]))


@pytest.mark.parametrize(
    "work, step, words",
    [
        (signal.raise_signal, signal.SIGKILL, "killed by signal 9, as when memory runs out"),
        (os._exit, 3, "ended with code 3"),
    ],
)
def test_a_death_ends_the_others_in_one_line(work: object, step: int, words: str) -> None:
    with pytest.raises(DataError, match=words) as failure, workers(work, 2, {}) as pool:
        list(pool([step]))
    assert "\n" not in str(failure.value)
