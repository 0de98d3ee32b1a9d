"""Covariances accumulated in blocks equal those of the whole matrix."""

import numpy as np
import pytest

from libhetero.analysis.gaussian_features import (
    CovarianceAccumulator,
    amplitude_change,
    displacement,
    motion_similarity,
)
from libhetero.errors import ConfigurationError
from libhetero.records import Gaussians


def test_blocks_give_the_covariance_of_the_whole():
    rng = np.random.default_rng(0)
    rows = (50 + rng.normal(size=(503, 17)) @ rng.normal(size=(17, 17))).astype(np.float32)
    accumulator = CovarianceAccumulator(17)
    for block in np.split(rows, [7, 200, 200, 411]):
        accumulator.add(block)
    np.testing.assert_allclose(accumulator.mean(), rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(accumulator.covariance(), np.cov(rows.T, bias=True), rtol=1e-3, atol=1e-3)


def test_memory_is_refused_before_it_is_taken():
    with pytest.raises(ConfigurationError, match="GiB"):
        CovarianceAccumulator(100_000, memory=1.0)


def test_motion_similarity_ignores_direction():
    rng = np.random.default_rng(1)
    angle = rng.normal(size=2000)
    arms = np.array([[1.0, 0, 0], [0, -2.0, 0], [0, 0, 0.5]])
    moved = angle[:, None, None] * arms
    similarity = motion_similarity(np.cov(moved.reshape(2000, 9).T, bias=True), 10**9)
    length = np.linalg.norm(arms, axis=1)
    np.testing.assert_allclose(similarity, angle.var() * np.outer(length, length), rtol=1e-6)


def test_motion_similarity_of_unrelated_changes_is_small():
    moved = np.random.default_rng(2).normal(size=(400, 60))
    similarity = motion_similarity(np.cov(moved.T, bias=True), 400)
    others = similarity[~np.eye(20, dtype=bool)]
    assert others.mean() < 0.1


def test_changes_are_relative_to_the_neutral_model():
    neutral = Gaussians(np.zeros((2, 3)), np.array([2.0, 4.0]), np.array([3.0, 3.0]))
    decoded = Gaussians(np.full((1, 2, 3), 6.0), np.array([[0.0, 6.0]]), np.full((1, 2), 3.0))
    np.testing.assert_allclose(amplitude_change(decoded, neutral), [[-1.0, 0.5]])
    np.testing.assert_allclose(displacement(decoded, neutral), np.full((1, 2, 3), 2.0))
