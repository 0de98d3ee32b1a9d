"""Particles are sorted into the classes they come from."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from libhetero.analysis import classes as module
from libhetero.analysis.classes import (
    class_medoids,
    class_members,
    hdbscan_classes,
    kmeans_classes,
    significant_columns,
)


def blobs(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, count)
    centre = 4.0 * np.stack([np.arange(classes), np.arange(classes) % 2], axis=1)
    return label, (centre[label] + 0.4 * rng.normal(size=(count, 2))).astype(np.float32)


def test_kmeans_numbers_classes_along_the_first_coordinate():
    label, points = blobs(600, 4)
    found = kmeans_classes(points, 4)
    np.testing.assert_array_equal(found, label)


def test_identical_particles_are_one_class():
    assert set(kmeans_classes(np.ones((50, 3)), 3)) == {0}


def test_hdbscan_needs_no_number():
    label, points = blobs(500, 3)
    assert adjusted_rand_score(label, hdbscan_classes(points, 30)) > 0.95


def test_presence_is_two_classes_whatever_the_minor_components_do():
    rng = np.random.default_rng(1)
    for presence in (0.5, 0.8):
        present = rng.random(4000) < presence
        first = present + 0.17 * rng.normal(size=4000)
        minor = 0.15 * rng.choice([-1, 1], (4000, 3)) + 0.02 * rng.normal(size=(4000, 3))
        points = significant_columns(np.column_stack([first, minor]))
        assert points.shape[1] == 1
        assert np.mean(kmeans_classes(points, 2) == present) >= 0.97


def test_a_second_state_as_large_as_the_first_counts():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(500, 4)) * np.array([1.0, 0.8, 0.3, 0.1])
    assert significant_columns(points).shape == (500, 2)
    assert significant_columns(np.ones((5, 2))).shape == (5, 2)


def test_very_many_particles_go_through_mini_batches(monkeypatch):
    """The same classes and numbers where classes are clear, and the large set chooses that way itself."""
    label, points = blobs(3000, 5)
    import sklearn.cluster

    made = []
    whole = sklearn.cluster.MiniBatchKMeans
    monkeypatch.setattr(
        sklearn.cluster, "MiniBatchKMeans", lambda **options: (made.append(options), whole(**options))[1]
    )
    kmeans_classes(points, 5)
    assert not made
    monkeypatch.setattr(module, "LARGEST_PRODUCT", 3000 * 5 - 1)
    np.testing.assert_array_equal(kmeans_classes(points, 5), label)
    assert made[0]["batch_size"] == module.BLOCK


def test_members_are_grouped_and_particles_of_no_class_left_out():
    members = class_members(np.array([4, -1, 0, 4, 0, 0]))
    assert {one: list(inside) for one, inside in members.items()} == {0: [2, 4, 5], 4: [0, 3]}
    assert class_members(np.array([-1, -1])) == {}


def test_a_medoid_is_the_member_nearest_to_the_mean_of_its_class():
    rng = np.random.default_rng(3)
    points, label = rng.normal(size=(200, 6)), rng.integers(-1, 4, 200)
    medoids = class_medoids(points, label)
    assert list(medoids) == [0, 1, 2, 3]
    for one, particle in medoids.items():
        assert label[particle] == one
        distance = np.linalg.norm(points - points[label == one].mean(axis=0), axis=1)
        assert distance[particle] == distance[label == one].min()
