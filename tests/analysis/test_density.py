"""Clusters by density and linkage, how well they are apart, and which eps is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.analysis.density import EpsScan, by_size, choose_eps, drop_small, linkage_labels, silhouette


def scan_of(score: list[float], groups: list[int]) -> EpsScan:
    count = len(score)
    counts = np.array(groups)
    return EpsScan(
        np.linspace(1, 2, count), counts, counts, np.zeros(count), np.array(score), np.zeros((count, 3), int)
    )


def test_the_middle_of_the_longest_run_as_good_as_the_best_is_taken() -> None:
    assert choose_eps(scan_of([0.1, 0.9, 0.1, 0.89, 0.895, 0.89, 0.1], [1, 4, 2, 3, 3, 3, 1])) == 4
    assert choose_eps(scan_of([0.9, 0.9, 0.9, 0.9], [3, 3, 3, 3])) == 1, "the lower of two middles"
    assert choose_eps(scan_of([0.9, 0.9, 0.9, 0.9, 0.9], [2, 2, 3, 3, 3])) == 3, "another number of groups, another run"


def distances(within: float, beyond: float) -> np.ndarray:
    """Return distances of two clusters of two points, and one point of none."""
    matrix = np.full((5, 5), beyond)
    matrix[:2, :2] = matrix[2:4, 2:4] = within
    np.fill_diagonal(matrix, 0)
    return matrix


def test_the_silhouette_of_every_point_and_none_for_noise() -> None:
    labels = np.array([0, 0, 1, 1, -1])
    assert silhouette(distances(0.4, 1.0), labels) == pytest.approx(4 / 5 * (1.0 - 0.4) / 1.0)
    assert silhouette(distances(0.01, 0.1), labels) == pytest.approx(4 / 5 * (0.1 - 0.01) / 0.3), "hardly two"
    assert silhouette(distances(0.4, 1.0), np.zeros(5, int)) == 0


def test_small_clusters_are_noise_and_the_largest_is_first() -> None:
    labels = np.array([5, 2, 2, 7, 7, 7, -1])
    np.testing.assert_array_equal(drop_small(labels, 2), [-1, 1, 1, 0, 0, 0, -1])
    np.testing.assert_array_equal(drop_small(labels, 3), [-1, -1, -1, 0, 0, 0, -1])
    np.testing.assert_array_equal(by_size(np.array([3, 1, 3, 1, -1])), [0, 1, 0, 1, -1])


def test_linkage_is_by_the_mean_distance() -> None:
    """A chain of steps of 1 and a pair at 1.4: the nearest neighbours would join all but the chain's end."""
    place = np.array([0.0, 1.0, 2.0, 3.0, 4.4, 4.5])
    distance = np.abs(place[:, None] - place[None])
    np.testing.assert_array_equal(linkage_labels(distance, 3), [0, 0, 1, 1, 2, 2])
