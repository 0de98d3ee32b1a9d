"""Points, neighbours and interpolation of the decoder."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.topology import build_topology, choose_points, interpolation_matrix, invert_neighbours

CONFIG = GmmConfig(points=(5, 17, 40), neighbours=6, interpolation=4)
WIDTH = 160.0  # Å, of the box


def cloud(count=60, seed=0):
    return np.random.default_rng(seed).normal(0, 20, (count, 3))


def test_points_are_distinct_gaussians():
    position = cloud()
    for count in (1, 5, 59):
        points = choose_points(position, count, seed=0)
        assert len(np.unique(points, axis=0)) == count
        assert all((position == point).all(axis=1).any() for point in points)
    np.testing.assert_array_equal(choose_points(position, 17, 3), choose_points(position, 17, 3))


def test_points_stay_distinct_where_gaussians_crowd():
    """Centres nearest to one Gaussian do not choose it twice."""
    position = np.concatenate([cloud(20), 1e-3 * cloud(20, 1)])
    assert len(np.unique(choose_points(position, 30, seed=0), axis=0)) == 30


def test_levels():
    position = cloud()
    levels = build_topology(position, CONFIG, WIDTH)
    assert [len(level.points) for level in levels] == [5, 17, 40]
    finer = [17, 40, 60]
    for level, following in zip(levels, finer, strict=True):
        count = len(level.points)
        near = min(CONFIG.neighbours, count)
        assert level.neighbours.shape == (count, near) and level.offsets.shape == (count, near, 3)
        np.testing.assert_array_equal(level.neighbours[:, 0], np.arange(count))
        np.testing.assert_array_equal(level.offsets[:, 0], 0)
        distance = np.linalg.norm(level.points[:, None] - level.points[None], axis=-1)
        np.testing.assert_array_equal(np.sort(level.neighbours), np.sort(distance.argsort()[:, :near]))
        step = level.points[level.neighbours] - level.points[:, None]
        spacing = np.linalg.norm(step[:, -1], axis=-1).mean()
        np.testing.assert_allclose(level.offsets, step / spacing, atol=1e-5)
        assert level.to_next.shape == (following, count)
        assert level.to_gaussians.shape == (60, count)


def test_interpolation_rows_sum_to_1_and_follow_the_equation():
    source, target = cloud(17), cloud(9, 1)
    matrix = interpolation_matrix(source, target, 4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    for row, point in zip(matrix, target, strict=True):
        distance = np.linalg.norm(source - point, axis=1)
        nearest = np.argsort(distance)[:4]
        weight = np.exp(-(distance[nearest] ** 2) / (2 * distance[nearest[1]] ** 2))
        expected = np.zeros(17)
        expected[nearest] = weight / weight.sum()
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_published_weights_and_offsets_are_in_units_of_the_box():
    published = dataclasses.replace(
        CONFIG, architecture="published", attention_groups=0, interpolation_weights="published"
    )
    level = build_topology(cloud(), published, WIDTH)[0]
    step = level.points[:, None] - level.points[level.neighbours]
    np.testing.assert_allclose(level.offsets, step / WIDTH, atol=1e-6)
    for row, point in zip(level.to_gaussians, cloud(), strict=True):
        distance = np.linalg.norm(level.points - point, axis=1) / WIDTH
        expected = np.where(distance <= np.sort(distance)[3], np.exp(-50 * distance**2), 0)
        np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-5)


def test_published_weights_of_a_target_far_from_every_source_still_sum_to_1():
    matrix = interpolation_matrix(cloud(17), cloud(3, 1) + 1e4, 4, decay=50 / WIDTH**2)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_constant_features_stay_constant_through_every_level():
    for level in build_topology(cloud(), CONFIG, WIDTH):
        for matrix in (level.to_next, level.to_gaussians):
            np.testing.assert_allclose(matrix @ np.ones(matrix.shape[1]), 1, atol=1e-5)


@pytest.mark.parametrize(("count", "sizes"), [(12, [5, 12]), (5, [5]), (3, [3]), (1, [1])])
def test_fewer_gaussians_than_a_level(count, sizes):
    levels = build_topology(cloud(count), CONFIG, WIDTH)
    assert [len(level.points) for level in levels] == sizes
    assert levels[-1].to_gaussians.shape == (count, count)
    for level in levels:
        assert np.isfinite(level.offsets).all() and np.isfinite(level.to_gaussians).all()


def test_places_in_the_list_of_neighbours():
    neighbours = np.array([[0, 2], [1, 0], [2, 0]])
    np.testing.assert_array_equal(invert_neighbours(neighbours), [[0, 3, 5], [2, 6, 6], [1, 4, 6]])
