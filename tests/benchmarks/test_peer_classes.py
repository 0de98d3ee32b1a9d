"""benchmarks/peer_classes.py: what classes and latents tell of pieces."""

import types
from collections.abc import Callable

import numpy as np
import pytest

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
