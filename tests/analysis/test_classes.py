"""Particles are sorted into the classes they come from."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from libhetero.analysis.classes import choose_classes, hdbscan_classes, kmeans_classes


def blobs(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, count)
    centre = 4.0 * np.stack([np.arange(classes), np.arange(classes) % 2], axis=1)
    return label, (centre[label] + 0.4 * rng.normal(size=(count, 2))).astype(np.float32)


def test_kmeans_numbers_classes_along_the_first_coordinate():
    label, points = blobs(600, 4)
    found = kmeans_classes(points, 4)
    np.testing.assert_array_equal(found, label)


def test_the_number_of_classes_is_found():
    for classes in (2, 3, 5):
        _, points = blobs(8000, classes)
        assert choose_classes(points)[0] == classes


def test_identical_particles_are_one_class():
    points = np.ones((50, 3))
    assert choose_classes(points)[0] == 1
    assert set(kmeans_classes(points, 3)) == {0}


def test_hdbscan_needs_no_number():
    label, points = blobs(500, 3)
    assert adjusted_rand_score(label, hdbscan_classes(points, 30)) > 0.95
