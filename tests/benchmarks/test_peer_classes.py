"""benchmarks/peer_classes.py: what classes and latents tell of pieces; a peer that is slow, fails or is not there."""

import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import ConfigurationError

STATES = np.array([[1, a, b] for a in (0, 1) for b in (0, 1)] * 40)


def test_classes_that_tell_one_piece_of_two(load: Callable) -> None:
    scores = load("peer_classes").score_classes(STATES[:, 1], STATES)
    assert scores["classes"] == 2 and scores["presence"] == pytest.approx(0.75)
    assert scores["ami"] == pytest.approx(0.5, abs=0.01) and 0 < scores["ari"] < 1


def test_latents_are_read_by_a_rule_from_the_other_half(load: Callable) -> None:
    random = np.random.default_rng(0)
    options = types.SimpleNamespace(kmeans=4, seed=0)
    told = STATES[:, 1:] @ random.normal(size=(2, 3)) + 0.01 * random.normal(size=(len(STATES), 3))
    scores = load("peer_classes").score_latents(told, STATES, options)
    assert scores["linear"] == scores["presence"] == 1
    untold = random.normal(size=(len(STATES), 3))
    assert load("peer_classes").score_latents(untold, STATES, options)["linear"] < 0.65


def test_relions_classes_by_place_in_the_stack(load: Callable, tmp_path: Path) -> None:
    labels = "loop_\n_rlnImageName #1\n_rlnClassNumber #2\n"
    text = f"data_particles\n\n{labels}000003@set/particles.mrcs 2\n000001@set/particles.mrcs 1\n"
    (tmp_path / "run_it025_data.star").write_text(text)
    (tmp_path / "run_it003_data.star").touch()
    module = load("peer_classes")
    path = module.last(tmp_path, r"run_it(\d+)_data\.star")
    assert module.number_in(path) == 25 and module.relion_classes(path, 3).tolist() == [1, -1, 2]
    with pytest.raises(ConfigurationError, match="no result yet"):
        module.last(tmp_path, r"z\.(\d+)\.pkl")


def test_a_peer_is_stopped_in_time_and_its_failure_told(
    load: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    limited = load("peer_classes").limited
    limited("sleep 60", tmp_path, 0.05)
    assert "stopped after 0.05 s" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="exit code 1; .*peers.log"):
        limited("false", tmp_path, 10)
    with pytest.raises(ConfigurationError, match="no-such-peer: no such program"):
        limited("no-such-peer", tmp_path, 10)
