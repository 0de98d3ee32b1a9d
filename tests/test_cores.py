"""Work shared out among the cores of this process."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from libhetero.cores import in_threads, usable_cores


def test_cores_are_those_that_the_system_gives_to_this_process(monkeypatch):
    assert 1 <= usable_cores() <= os.cpu_count()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("first_alone", [False, True])
def test_what_is_found_comes_in_order(count, first_alone):
    assert list(in_threads(lambda one: one**2, count, 3, first_alone)) == [one**2 for one in range(count)]


def test_several_are_at_work_together_but_the_first_alone():
    together, begun = threading.Barrier(2, timeout=30), []

    def work(number):
        if number:
            together.wait()  # returns only where two are here at once
        begun.append(number)
        return number

    assert list(in_threads(work, 3, 2, first_alone=True)) == [0, 1, 2]
    assert begun[0] == 0


def test_an_error_ends_what_was_not_begun():
    begun = []

    def work(number):
        begun.append(number)
        if number == 1:
            raise ValueError("one")
        time.sleep(0.05 * (number > 1))
        return number

    with pytest.raises(ValueError, match="one"):
        list(in_threads(work, 1000, 1))
    assert len(begun) < 100


def test_products_of_matrices_have_one_thread_meanwhile():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    meanwhile = list(
        in_threads(lambda _: [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"], 2)
    )
    assert meanwhile[0] and all(set(found) == {1} for found in meanwhile)
    assert [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"] == before
