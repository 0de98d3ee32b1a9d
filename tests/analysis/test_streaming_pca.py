"""PCA in blocks against PCA at once."""

import numpy as np
import pytest

from libhetero.analysis.streaming_pca import StreamingPCA, reduce_stream


@pytest.fixture
def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    scale = np.array([30.0, 20.0, 10.0, 5.0])
    signal = random.normal(size=(1300, 4)) * scale @ np.linalg.qr(random.normal(size=(300, 4)))[0].T
    return (signal + 0.1 * random.normal(size=(1300, 300)) + 7).astype(np.float32)


def test_blocks_give_the_components_of_the_whole(vectors) -> None:
    blocks = np.array_split(vectors, [30, 41, 500, 501])
    found, basis = reduce_stream(lambda: iter(blocks), 4)
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :4] * singular[:4]
    for column, other in zip(found.T, expected.T, strict=True):
        assert abs(np.corrcoef(column, other)[0, 1]) > 0.9999
        assert column.std() == pytest.approx(other.std(), rel=1e-2)
    error = basis.lift(found) - vectors
    assert error.std() == pytest.approx(0.1, rel=0.1)


def test_narrow_vectors_are_left_as_they_are(vectors) -> None:
    found, basis = reduce_stream(lambda: iter([vectors[:10, :5], vectors[10:20, :5]]), 100)
    np.testing.assert_array_equal(found, vectors[:20, :5])
    assert basis is None


def test_fewer_vectors_than_components(vectors) -> None:
    pca = StreamingPCA(100)
    pca.add(vectors[:20])
    pca.finish()
    assert pca.transform(vectors[:5]).shape == (5, 20)
    assert pca.variance_ratio.sum() == pytest.approx(1, abs=1e-4)
