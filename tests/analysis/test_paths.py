"""Ways through a cloud start and end where asked, and keep to it."""

import numpy as np
import pytest

from libhetero.analysis import paths
from libhetero.analysis.paths import component_grid, neighbour_path, occupied_cells, straight_path
from libhetero.errors import DataError


@pytest.fixture
def ring():
    """Points around a circle, in order of their angle."""
    angle = np.sort(np.random.default_rng(0).uniform(0, 2 * np.pi, 600))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_straight_lines_pass_their_anchors_in_equal_steps():
    anchors = np.array([[0.0, 0], [4, 0], [4, 8]])
    found = straight_path(anchors, 4)
    assert found.shape == (9, 2)
    np.testing.assert_allclose(found[[0, 4, 8]], anchors)
    np.testing.assert_allclose(found[:5, 0], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(found[4:, 1], [0, 2, 4, 6, 8])


def test_neighbours_lead_around_a_ring_and_not_across(ring):
    anchors = np.array([0, 250, 100])
    found = neighbour_path(ring, anchors, 1000)
    assert found[0] == 0 and found[-1] == 100 and 250 in found
    steps = np.linalg.norm(np.diff(ring[found], axis=0), axis=1)
    assert steps.max() < 0.2
    assert np.all(np.diff(found[: np.flatnonzero(found == 250)[0] + 1]) > 0)


def test_a_long_way_is_thinned_evenly(ring):
    found = neighbour_path(ring, np.array([0, 250]), 5)
    assert len(found) == 6 and found[0] == 0 and found[-1] == 250
    steps = np.linalg.norm(np.diff(ring[found], axis=0), axis=1)
    assert steps.max() < 1.5 * steps.min()


def test_a_large_cloud_is_crossed_over_some_of_its_points(ring, monkeypatch):
    monkeypatch.setattr(paths, "LARGEST_GRAPH", 200)
    found = neighbour_path(ring, np.array([1, 250]), 1000)
    assert found[0] == 1 and found[-1] == 250 and len(found) > 5
    kept = np.linspace(0, len(ring) - 1, 200).astype(int)
    assert set(found) <= {*kept, 1, 250} and not set(range(2, 250)) <= set(kept)


def test_islands_have_no_way_between_them():
    points = np.random.default_rng(1).normal(size=(100, 3))
    points[50:] += 100
    with pytest.raises(DataError, match="from particle 3 to 70"):
        neighbour_path(points, np.array([2, 3, 70]), 10)


def test_a_grid_spans_the_principal_plane():
    rng = np.random.default_rng(2)
    points = 5 + rng.normal(size=(4000, 4)) * np.array([1.0, 10, 3, 0.1])
    found = component_grid(points, 3)
    assert found.shape == (9, 4)
    np.testing.assert_allclose(np.ptp(found, axis=0)[[1, 2]], [32.9, 9.9], rtol=0.1)
    np.testing.assert_allclose(found[4], points.mean(axis=0), atol=0.5)
    assert np.ptp(found[:, 3]) < 0.1
    along = found.reshape(3, 3, 4)
    assert np.ptp(along[0, :, 2]) > np.ptp(along[0, :, 1]), "the second component runs fastest"
    assert component_grid(points[:, :1], 3).shape == (3, 1)


def test_cells_are_those_with_points_each_by_the_one_nearest_its_middle():
    plane = np.array([[0.0, 0], [0.4, 0.6], [0.9, 0.9], [4, 4], [3.5, 3.4], [3.9, 0.1]])
    cells, chosen = occupied_cells(plane, 4)
    np.testing.assert_array_equal(cells, [[0, 0], [0, 3], [3, 3]])
    np.testing.assert_array_equal(chosen, [1, 5, 4])
    assert len(occupied_cells(np.zeros((5, 2)), 3)[1]) == 1


def test_a_grid_leaves_out_what_lies_far_outside():
    points = np.column_stack([np.linspace(-1, 1, 101), np.zeros(101), np.zeros(101)])
    points[:2, 0], points[-2:, 0] = -50, 50
    grid = component_grid(points, 3)
    assert np.abs(grid).max() < 1
    np.testing.assert_allclose(np.unique(np.abs(grid[:, 0]).round(3)), [0, 0.9], atol=0.01)
