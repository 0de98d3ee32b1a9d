"""Covariances accumulated in blocks equal those of the whole matrix."""

import numpy as np
import pytest

from libhetero.analysis.gaussian_features import (
    CovarianceAccumulator,
    change_vectors,
    columns_of,
    displacement,
    kind_of_sizes,
    material_feature,
    motion_similarity,
    region_basis,
    relative_amplitude,
    similarity_of,
    sizes_of_region,
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
    expected = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(accumulator.covariance(), expected, rtol=1e-3, atol=1e-3)


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
    decoded = Gaussians(np.full((1, 2, 3), 6.0), np.array([[1.0, 6.0]]), np.full((1, 2), 3.0))
    np.testing.assert_allclose(relative_amplitude(decoded, neutral), [[0.5, 1.5]])
    # The fainter Gaussian counts for less.
    np.testing.assert_allclose(displacement(decoded, neutral), [[[1.0] * 3, [2.0] * 3]])
    assert change_vectors(decoded, neutral, "both").shape == (1, 2, 4)


def mixture(rng, amplitude=0.0, motion=0.0):
    neutral = Gaussians(np.zeros((5, 3)), np.ones(5), np.full(5, 2.0))
    decoded = Gaussians(
        2.0 * motion * rng.normal(size=(300, 5, 3)), 1 + amplitude * rng.normal(size=(300, 5)), np.full((300, 5), 2.0)
    )
    return decoded, neutral


@pytest.mark.parametrize(
    "amplitude, motion, expected",
    [(0.5, 0.1, "amplitude"), (0.05, 0.5, "motion"), (0.1, 0.01, "amplitude"), (0.5, 0.6, "both"), (0.5, 2.0, "both")],
)
def test_the_kinds_that_change_are_told(amplitude, motion, expected):
    decoded, neutral = mixture(np.random.default_rng(3), amplitude, motion)
    assert material_feature(decoded, neutral) == expected


def test_a_sigma_counts_like_presence_in_half_of_the_particles():
    assert kind_of_sizes(0.5, 0.9) == kind_of_sizes(0.2, 1.0) == "both"
    assert kind_of_sizes(0.5, 0.25) == "amplitude" and kind_of_sizes(0.1, 1.0) == "motion"


def test_both_adds_amplitude_and_motion():
    decoded, neutral = mixture(np.random.default_rng(4), 0.2, 0.1)
    total = 0
    for feature, weight in (("amplitude", 1.0), ("motion", 0.25), ("both", 0.0)):
        rows = change_vectors(decoded, neutral, feature).reshape(300, -1)
        found = similarity_of(np.cov(rows.T, bias=True), rows.mean(axis=0), 300, feature)
        total = total + weight * found
    np.testing.assert_allclose(found, total, atol=1e-6)


def test_a_region_has_a_size_of_each_kind():
    """Gaussians 1 and 2 come and go together; 3 and 4 move together along directions of their own."""
    rng = np.random.default_rng(9)
    rows = np.ones((400, 5, 4)) * [1.0, 0, 0, 0]
    rows[:, 1:3, 0] = rng.permutation(400)[:, None] < 200
    rows[:, 3, 1] = rows[:, 4, 3] = rng.normal(size=400)
    rows += 0.01 * rng.normal(size=rows.shape)
    flat = rows.reshape(400, -1)
    covariance, mean = np.cov(flat.T, bias=True), flat.mean(axis=0)
    present, moves = (sizes_of_region(covariance, mean, 400, "both", np.array(members)) for members in ([1, 2], [3, 4]))
    np.testing.assert_allclose(present, [0.5, 0.0], atol=0.02)
    np.testing.assert_allclose(moves, [0.0, rows[:, 3, 1].std()], atol=0.04)


def test_numbers_of_each_kind_stand_where_they_are():
    members = np.array([0, 2])
    np.testing.assert_array_equal(columns_of(members, "both", "amplitude"), [0, 8])
    np.testing.assert_array_equal(columns_of(members, "both", "motion"), [1, 2, 3, 9, 10, 11])
    np.testing.assert_array_equal(columns_of(members, "motion", "motion"), [0, 1, 2, 6, 7, 8])
    np.testing.assert_array_equal(columns_of(members, "both", "both"), [0, 1, 2, 3, 8, 9, 10, 11])


@pytest.mark.parametrize("level", [0.5, 1.0, 2.0])
def test_presence_counts_the_same_whatever_the_neutral_amplitude(level):
    present = np.random.default_rng(6).permutation(400) < 200
    rows = level * np.column_stack([present, present, np.ones(400)]).astype(float)
    found = similarity_of(np.cov(rows.T, bias=True), rows.mean(axis=0), 400, "amplitude")
    np.testing.assert_allclose(np.sqrt(found[:2, :2]), 0.5, atol=1e-12)
    np.testing.assert_array_equal(found[2], 0)


def test_region_basis_is_the_principal_direction_and_points_up():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(500, 1)) * np.array([0.0, -1.0, -2.0, 0.0])
    columns, basis = region_basis(np.cov(rows.T, bias=True), np.array([1, 2]), "amplitude", 1)
    np.testing.assert_array_equal(columns, [1, 2])
    np.testing.assert_allclose(basis[:, 0], np.array([1, 2]) / np.sqrt(5), atol=1e-6)


def test_the_strongest_changes_tell_not_the_usual_ones():
    """One Gaussian in ten comes and goes; the others stay, and all tremble."""
    rng = np.random.default_rng(8)
    neutral = Gaussians(np.zeros((20, 3)), np.ones(20), np.full(20, 2.0))
    amplitude = np.ones((300, 20))
    amplitude[:, :2] += rng.choice([-0.5, 0.5], (300, 1))
    decoded = Gaussians(0.2 * rng.normal(size=(300, 20, 3)), amplitude, np.full((300, 20), 2.0))
    assert material_feature(decoded, neutral) == "amplitude"
