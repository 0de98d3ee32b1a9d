"""Principal components from a sample and one pass, against PCA of the whole."""

import re
import weakref

import numpy as np
import pytest

from libhetero.analysis import streaming_pca
from libhetero.analysis.streaming_pca import reduce_stream


@pytest.fixture
def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    scale = np.array([30.0, 20.0, 10.0, 5.0])
    signal = random.normal(size=(1300, 4)) * scale @ np.linalg.qr(random.normal(size=(300, 4)))[0].T
    return (signal + 0.1 * random.normal(size=(1300, 300)) + 7).astype(np.float32)


def blocks_of(vectors, passes=None):
    """Return a stream of vectors in blocks of uneven size, which notes what it was asked for."""

    def blocks(indices):
        if passes is not None:
            passes.append(len(indices))
        return iter(np.array_split(vectors[indices], [30, 41, 300]))

    return blocks


def exact(vectors, components):
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    return left[:, :components] * singular[:components], right[:components]


def captured(vectors, directions):
    """Return the variance along orthonormal directions over that along the best ones."""
    centred = vectors - vectors.mean(axis=0)
    best = exact(vectors, len(directions))[0]
    return np.sum((centred @ directions.T) ** 2) / np.sum(best**2)


@pytest.mark.parametrize("sample", [1300, 5000])
def test_no_more_vectors_than_the_sample_are_reduced_exactly_in_one_pass(vectors, sample) -> None:
    passes = []
    found, basis = reduce_stream(blocks_of(vectors, passes), 1300, 4, sample)
    expected, directions = exact(vectors, 4)
    assert passes == [1300]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=0.02)
    np.testing.assert_allclose(np.abs(basis.directions), np.abs(directions), atol=2e-3)
    np.testing.assert_allclose(basis.mean, vectors.mean(axis=0), atol=1e-3)


def test_a_sample_and_one_pass_find_the_components_of_the_whole(vectors) -> None:
    passes = []
    found, basis = reduce_stream(blocks_of(vectors, passes), 1300, 4, sample=200)
    assert passes == [200, 1300]
    for column, other in zip(found.T, exact(vectors, 4)[0].T, strict=True):
        assert abs(np.corrcoef(column, other)[0, 1]) > 0.9999
        assert column.std() == pytest.approx(other.std(), rel=1e-3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(basis.directions @ basis.directions.T, np.eye(4), atol=1e-4)
    assert (basis.lift(found) - vectors).std() == pytest.approx(0.1, rel=0.1)


def test_the_pass_over_all_corrects_the_sample() -> None:
    """Variance that falls slowly: the directions of the sample alone are worse."""
    random = np.random.default_rng(1)
    spectrum = (1.0 + np.arange(400)) ** -0.5
    vectors = (random.normal(size=(3000, 400)) * spectrum).astype(np.float32)
    chosen = np.sort(np.random.default_rng(0).choice(3000, 300, replace=False))
    alone = captured(vectors, exact(vectors[chosen], 20)[1])
    _, basis = reduce_stream(blocks_of(vectors), 3000, 20, sample=300)
    assert captured(vectors, basis.directions) > max(alone + 0.02, 0.9)


def test_vectors_sorted_by_kind_are_all_seen() -> None:
    """The last of four kinds fills the last tenth only."""
    kind = np.repeat(np.arange(4), [900, 900, 900, 300])
    vectors = (20 * np.eye(4, 250)[kind] + np.random.default_rng(2).normal(size=(3000, 250))).astype(np.float32)
    _, basis = reduce_stream(blocks_of(vectors), 3000, 3, sample=200)
    assert captured(vectors, basis.directions) > 0.98


def test_narrow_vectors_are_left_as_they_are(vectors) -> None:
    narrow = vectors[:20, :5]
    found, basis = reduce_stream(blocks_of(narrow), 20, 100, sample=8)
    np.testing.assert_array_equal(found, narrow)
    assert basis is None


def test_fewer_vectors_than_components_and_vectors_all_alike(vectors) -> None:
    found, basis = reduce_stream(blocks_of(vectors[:20]), 20)
    assert found.shape == (20, 19)
    np.testing.assert_allclose(basis.lift(found), vectors[:20], atol=0.01)
    found, basis = reduce_stream(blocks_of(np.ones((20, 300), np.float32)), 20)
    np.testing.assert_allclose(basis.lift(found), 1, atol=1e-5)


def test_memory_is_the_sample_and_a_block(vectors, monkeypatch) -> None:
    """Of the pass over all vectors, only a block's worth of rows is ever alive."""
    monkeypatch.setattr(streaming_pca, "ROWS", 40)
    made, most = [], [0]

    def blocks(indices):
        for part in np.array_split(indices, 65):
            block = vectors[part]
            made.append(weakref.ref(block))
            most[0] = max(most[0], sum(len(one()) for one in made if one() is not None))
            yield block

    found, _ = reduce_stream(blocks, 1300, 4, sample=100)
    assert found.shape == (1300, 4) and len(made) == 2 * 65
    assert most[0] <= 4 * 20


def test_the_part_kept_is_of_the_variance_about_the_mean(vectors, caplog) -> None:
    """Ten of 1300 vectors have another mean than all, which is no variance."""
    with caplog.at_level("INFO"):
        reduce_stream(blocks_of(vectors), 1300, 4, sample=10)
    assert float(re.search(r"reduced to 4: ([0-9.]+)%", caplog.text)[1]) > 99
