"""k-means from centres far apart."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from libhetero.models.gmm.clusters import group_points


def ball(count: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).uniform(-1, 1, (4 * count, 3))
    return points[np.sum(points**2, axis=1) < 1][:count]


@pytest.mark.parametrize("count", [1, 12, 48, 120])
def test_the_sum_of_squares_is_that_of_a_library(count):
    points = ball(240)
    centres, label = group_points(points, count, 0)
    assert centres.shape == (count, 3) and label.shape == (240,)
    expected = KMeans(count, n_init=3, random_state=0).fit(points).inertia_
    assert np.sum((points - centres[label]) ** 2) < 1.1 * expected


def test_each_point_belongs_to_its_nearest_centre_which_is_the_mean_of_its_points():
    points = ball(200)
    centres, label = group_points(points, 9, 3)
    distance = np.sum((points[:, None] - centres) ** 2, axis=-1)
    np.testing.assert_array_equal(label, np.argmin(distance, axis=1))
    for number, centre in enumerate(centres):
        np.testing.assert_allclose(centre, points[label == number].mean(axis=0))


def test_points_far_from_the_others_cost_no_more_than_their_centres():
    """They get one each, and the sum of squares is that of k-means++ all the same."""
    points = np.concatenate([ball(200), 8 * np.eye(3)])
    centres, label = group_points(points, 20, 0)
    expected = KMeans(20, n_init=3, random_state=0).fit(points).inertia_
    assert np.sum((points - centres[label]) ** 2) < 1.1 * expected


def test_pieces_far_from_each_other_are_told_apart():
    piece = np.repeat(np.arange(6), 20)
    points = 0.1 * ball(120) + 10 * np.random.default_rng(1).normal(size=(6, 3))[piece]
    _, label = group_points(points, 6, 0)
    assert all(len(set(label[piece == number])) == 1 for number in range(6)) and len(set(label)) == 6


def test_a_seed_gives_the_same_again():
    points = ball(100)
    np.testing.assert_array_equal(group_points(points, 7, 5)[0], group_points(points, 7, 5)[0])


def test_coinciding_points_give_fewer_groups_and_no_warning():
    points = np.repeat(ball(3), 5, axis=0)
    centres, label = group_points(points, 6, 0)
    assert len(centres) == 6 and len(set(label)) == 3
