"""Flags by which small programs are compiled quickly: only those that the installed compiler knows."""

import os

import pytest

from libhetero.cli import quick_compilation
from libhetero.cli.quick_compilation import ONE_THREAD, QUICK, known, quick_variables


def test_a_flag_that_the_compiler_does_not_know_is_left_out() -> None:
    """It would end the process; a part of the name of one that is known is none."""
    host = "--xla_force_host_platform_device_count=4"
    assert known([host, "--xla_no_such_flag=1", "--xla_force_host_platform_device=4"]) == [host]
    assert known([]) == []


def test_programs_take_the_flags_and_one_thread_unless_the_user_has_said_others() -> None:
    assert quick_variables({"XLA_FLAGS": "", **dict.fromkeys(ONE_THREAD, "2")}) == {}
    found = quick_variables({"HOME": "/nowhere", "OMP_NUM_THREADS": "4"})
    assert found.pop("XLA_FLAGS") == " ".join(known(QUICK))
    assert found == {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert set(known(QUICK)) <= set(os.environ["XLA_FLAGS"].split())


def test_without_the_library_of_the_compiler_there_are_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_compilation.importlib.util, "find_spec", lambda name: None)
    assert known(QUICK) == [] and "XLA_FLAGS" not in quick_variables({})
