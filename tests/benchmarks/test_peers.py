"""benchmarks/peers.py: a peer that is slow, fails or is not there, what it cost, and what RELION's lists say."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from libhetero.errors import ConfigurationError

BUSY = f"{sys.executable} -S -c 'while True: pass'"


def test_relions_classes_by_place_in_the_stack(load: Callable, tmp_path: Path) -> None:
    labels = "loop_\n_rlnImageName #1\n_rlnClassNumber #2\n"
    text = f"data_particles\n\n{labels}000003@set/particles.mrcs 2\n000001@set/particles.mrcs 1\n"
    (tmp_path / "run_it000_data.star").touch()
    module = load("peers")
    with pytest.raises(ConfigurationError, match="no result yet"):
        module.last(tmp_path, module.RELION_ROUND)
    (tmp_path / "run_it025_data.star").write_text(text)
    (tmp_path / "run_it003_data.star").touch()
    path = module.last(tmp_path, module.RELION_ROUND)
    assert module.number_in(path) == 25 and module.relion_classes(path, 3).tolist() == [1, -1, 2]


def test_a_peer_is_stopped_in_time_and_its_failure_told(
    load: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    module = load("peers")
    cost = module.limited("sleep 60", tmp_path, module.Allowance(0.05))
    assert "stopped after 0.05 s" in capsys.readouterr().out
    assert 0.05 <= cost.seconds < 30 and cost.processor < cost.seconds
    with pytest.raises(ConfigurationError, match="exit code 1; .*peers.log"):
        module.limited("false", tmp_path, module.Allowance(10))
    with pytest.raises(ConfigurationError, match="no-such-peer: no such program"):
        module.limited("no-such-peer", tmp_path, module.Allowance(10))


def test_a_peer_may_be_given_processor_time_whatever_the_clock_says(
    load: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    module = load("peers")
    slept = module.limited("sleep 0.3", tmp_path, module.Allowance(0.1, processor=True))
    assert "stopped" not in capsys.readouterr().out
    assert slept.seconds > 0.3 and slept.processor < 0.1
    busy = module.limited(BUSY, tmp_path, module.Allowance(0.1, processor=True))
    assert "stopped after 0.1 s of processor time" in capsys.readouterr().out
    assert busy.processor >= 0.1 and busy.memory > 1


def test_a_peer_computes_with_the_threads_that_it_is_given(load: Callable, tmp_path: Path) -> None:
    module = load("peers")
    module.limited("sh -c 'echo $OMP_NUM_THREADS'", tmp_path, module.Allowance(math.inf, threads=3))
    assert (tmp_path / module.LOG).read_text() == "3\n"


def test_several_processes_cost_their_sum_and_the_most_memory(load: Callable) -> None:
    cost = load("peers").Cost
    assert cost(1, 2, 30) + cost(3, 4, 20) == cost(4, 6, 30)
