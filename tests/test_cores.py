"""Work shared out among the cores of this process."""

import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from libhetero.cores import in_threads, usable_cores


def test_cores_are_those_that_the_system_gives_to_this_process(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    assert 1 <= usable_cores() <= os.cpu_count()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("first_alone", [False, True])
def test_what_is_found_comes_in_order(count, first_alone):
    assert list(in_threads(lambda one: one**2, count, 3, first_alone)) == [one**2 for one in range(count)]


def test_several_are_at_work_together():
    together = threading.Barrier(2, timeout=30)

    def work(number):
        together.wait()  # returns only where two are here at once
        return number

    assert list(in_threads(work, 4, 2)) == [0, 1, 2, 3]


@pytest.mark.parametrize("first_alone", [False, True])
def test_the_first_may_be_alone(first_alone):
    others, at_the_end = threading.Event(), []

    def work(number):
        if number:
            others.set()
        else:
            at_the_end.append(others.wait(0.3))  # has another begun meanwhile?
        return number

    assert list(in_threads(work, 4, 2, first_alone)) == [0, 1, 2, 3]
    assert at_the_end == [not first_alone]


def test_little_is_computed_that_is_not_read():
    begun = []
    reader = in_threads(begun.append, 1000, 2)
    next(reader)
    time.sleep(0.2)
    assert len(begun) <= 8
    reader.close()


def test_threads_that_were_asked_for_are_not_exceeded(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    for asked, cores in (("2", 2), ("8", 3), ("0", 3), ("many", 3), ("", 3)):
        monkeypatch.setenv("NPROC", asked)
        assert usable_cores() == cores


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


def blas_threads(_=0):
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_products_of_matrices_have_one_thread_meanwhile():
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, "blas"):
        meanwhile = list(in_threads(blas_threads, 2))
        assert meanwhile[0] and all(set(found) == {1} for found in meanwhile)
        assert set(blas_threads()) == {2}


def test_uses_that_overlap_leave_the_threads_as_they_were():
    with threadpool_limits(2, "blas"):
        first, second = in_threads(str, 4), in_threads(str, 4)
        next(first), next(second)
        first.close()
        assert set(blas_threads()) == {1}
        second.close()
        assert set(blas_threads()) == {2}
