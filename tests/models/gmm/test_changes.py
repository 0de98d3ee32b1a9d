"""What a change costs: the strain of an elastic network."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.changes import GIVES_WAY, REACH, Neighbourhood, nearest_pairs, strain
from tests.making.mixtures import gaussians, mixture
from tests.making.poses import one_pose


def test_what_moves_and_turns_as_a_whole_costs_nothing() -> None:
    neutral = mixture(30)
    edges = nearest_pairs(neutral.position)
    turned = neutral.position @ np.asarray(one_pose().rotation).T + np.float32([5, -3, 8])
    assert float(strain(neutral, edges, dataclasses.replace(neutral, position=turned))) == pytest.approx(0, abs=1e-6)


def test_stretching_costs_the_mean_square_of_the_change_of_distances_while_that_is_small() -> None:
    neutral = mixture(30)
    edges = nearest_pairs(neutral.position)
    distance = np.linalg.norm(neutral.position[edges[:, 0]] - neutral.position[edges[:, 1]], axis=1)
    stretched = dataclasses.replace(neutral, position=1.002 * neutral.position)
    assert float(strain(neutral, edges, stretched)) == pytest.approx(np.mean((0.002 * distance) ** 2), rel=5e-3)


def test_what_parts_costs_as_much_near_as_far() -> None:
    neutral = mixture(30)
    edges = nearest_pairs(neutral.position)
    apart = np.mean((edges < 15).any(axis=1) & (edges >= 15).any(axis=1))
    costs = []
    for far in (200.0, 400.0):
        position = neutral.position + np.where(np.arange(30) < 15, far, 0)[:, None].astype(np.float32)
        costs.append(float(strain(neutral, edges, dataclasses.replace(neutral, position=position))))
    np.testing.assert_allclose(costs, GIVES_WAY**2 * apart, rtol=1e-3)


def test_each_has_its_nearest_and_never_itself() -> None:
    position = np.concatenate([mixture(20).position, np.zeros((3, 3), np.float32)])  # three in one place
    pairs = nearest_pairs(position)
    assert pairs.shape == (23 * 12, 2) and not np.any(pairs[:, 0] == pairs[:, 1])
    distance = np.linalg.norm(position[:, None] - position, axis=2)
    for one in range(23):
        mine = pairs[pairs[:, 0] == one, 1]
        np.testing.assert_allclose(np.sort(distance[one, mine]), np.sort(np.delete(distance[one], one))[:12])
    assert nearest_pairs(position[:4]).shape == (12, 2) and nearest_pairs(position[:1]).shape == (0, 2)


def test_means_over_neighbours_are_those_of_the_sum_written_out() -> None:
    neutral = mixture(30)
    near = Neighbourhood.of(neutral, nearest_pairs(neutral.position))
    change = np.random.default_rng(2).normal(size=(30, 1, 4)).astype(np.float32)
    distance = np.linalg.norm(neutral.position[:, None] - neutral.position, axis=2)
    nearest = np.sort(distance, axis=1)
    share = neutral.amplitude * np.exp(-(distance**2) / (2 * (REACH * np.median(nearest[:, 1])) ** 2))
    share *= distance <= nearest[:, [12]] * 1.0001  # itself and its twelve nearest
    expected = np.einsum("ij,j...->i...", share / share.sum(axis=1, keepdims=True), change)
    np.testing.assert_allclose(near.mean(change), expected, atol=2e-6)
    np.testing.assert_allclose(near.mean(np.ones((30, 2), np.float32)), 1, rtol=1e-6)  # all change alike


def test_a_gaussian_far_from_all_others_and_one_alone_keep_their_changes() -> None:
    position = np.concatenate([mixture(20).position, np.full((1, 3), 500, np.float32)])
    neutral = gaussians(position)
    change = np.random.default_rng(3).normal(size=(21, 1)).astype(np.float32)
    means = Neighbourhood.of(neutral, nearest_pairs(position)).mean(change)
    assert float(means[20, 0]) == pytest.approx(change[20, 0], rel=1e-6)
    alone = Neighbourhood.of(gaussians(position[:1]), nearest_pairs(position[:1]))
    np.testing.assert_array_equal(alone.mean(change[:1]), change[:1])


def test_gaussians_of_no_or_negative_amplitude_have_means_too() -> None:
    neutral = dataclasses.replace(mixture(20), amplitude=np.linspace(-1, 1, 20).astype(np.float32))
    share = Neighbourhood.of(neutral, nearest_pairs(neutral.position)).share
    assert np.isfinite(share).all() and (share >= 0).all()
