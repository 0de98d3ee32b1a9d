"""Planes: PCA by the Gram matrix is PCA, UMAP repeats, separated groups stay apart."""

from types import SimpleNamespace

import numpy as np
import pytest

from libhetero.analysis import embedding
from libhetero.analysis.embedding import fix_signs, gram_coordinates, principal_plane, umap_plane


def test_gram_coordinates_reproduce_inner_products():
    vectors = np.random.default_rng(0).normal(size=(30, 5))
    coordinates, values = gram_coordinates(vectors @ vectors.T, 10)
    assert coordinates.shape == (30, 5)
    np.testing.assert_allclose(coordinates @ coordinates.T, vectors @ vectors.T, atol=1e-8)
    assert np.all(np.diff(values[:5]) <= 0)


def test_signs_do_not_depend_on_those_that_a_solver_gives():
    vectors = np.random.default_rng(2).normal(size=(9, 4))
    fixed = fix_signs(vectors * [1, -1, 1, -1])
    np.testing.assert_array_equal(fixed, fix_signs(vectors))
    np.testing.assert_array_equal(fixed.max(axis=0), np.abs(vectors).max(axis=0))


def test_principal_plane_of_one_column_has_a_second_of_zeros():
    plane = principal_plane(np.arange(10.0)[:, None])
    np.testing.assert_allclose(np.abs(plane[:, 0]), np.abs(np.arange(10) - 4.5), atol=1e-5)
    assert not plane[:, 1].any()


def test_umap_repeats_and_keeps_groups_apart():
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 60)
    points = rng.normal(size=(120, 8)) + 20 * group[:, None]
    first, second = (umap_plane(points, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    gap = np.linalg.norm(first[group == 0].mean(0) - first[group == 1].mean(0))
    assert gap > 3 * first[group == 0].std(axis=0).max()


def test_few_points_fall_back_to_pca():
    points = np.random.default_rng(2).normal(size=(9, 4))
    np.testing.assert_array_equal(umap_plane(points), principal_plane(np.float32(points)))


@pytest.mark.parametrize("largest", [120, 119])
def test_neighbours_of_very_many_points_are_left_to_umap(monkeypatch, largest):
    given = {}

    class Recorder:
        def __init__(self, **options):
            given.update(options)

        def fit_transform(self, points):
            return points[:, :2]

    monkeypatch.setattr(embedding, "_import_umap", lambda: SimpleNamespace(UMAP=Recorder))
    monkeypatch.setattr(embedding, "LARGEST_EXACT", largest)
    points = np.random.default_rng(0).normal(size=(120, 8))
    umap_plane(points, 7)
    assert ("precomputed_knn" in given) == (largest >= 120)
    if "precomputed_knn" in given:
        index, distance = given["precomputed_knn"]
        np.testing.assert_array_equal(index[:, 0], np.arange(120))
        assert distance.shape == (120, 7) and not distance[:, 0].any()
