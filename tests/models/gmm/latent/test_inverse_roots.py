"""Inverses of many small matrices."""

import numpy as np
import pytest

from libhetero.models.gmm.latent.inverse_roots import inverse_roots, inverses


def matrices(size: int, largest: float) -> np.ndarray:
    """Return 1 + a matrix of low rank, its eigenvalues up to `largest`, symmetric but for rounding."""
    rng = np.random.default_rng(size)
    basis = np.linalg.qr(rng.normal(size=(5, size, size)))[0]
    values = np.ones(size)
    values[: max(size // 4, 1)] += np.geomspace(1, largest, max(size // 4, 1))
    made = basis * values @ basis.transpose(0, 2, 1)
    return made + 1e-16 * largest * rng.normal(size=made.shape)


@pytest.mark.parametrize("size", [1, 12, 13, 72, 97])
@pytest.mark.parametrize("largest", [1.0, 1e4, 1e8])
def test_they_are_inverses(size, largest):
    made = matrices(size, largest)
    expected = np.linalg.inv(made)
    atol = (1e-14 * largest + 1e-12) * np.abs(expected).max()
    found, roots = inverses(made), inverse_roots(made)
    np.testing.assert_allclose(found, expected, atol=atol)
    assert np.linalg.eigvalsh(found).min() > 0
    np.testing.assert_allclose(roots, np.tril(roots), atol=1e-14)
    np.testing.assert_allclose(roots.transpose(0, 2, 1) @ roots, expected, atol=atol)


def test_what_rounding_has_made_indefinite_is_inverted_too():
    made = matrices(30, 1e3)
    made[2] -= (1e-3 + np.linalg.eigvalsh(made[2]).min()) * np.eye(30)
    with pytest.raises(np.linalg.LinAlgError):
        inverse_roots(made)
    np.testing.assert_array_equal(inverses(made), np.linalg.inv(made))
