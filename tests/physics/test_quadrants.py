"""Half planes cut into quadrants."""

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics.quadrants import in_quadrants, times_i, weights_in_quadrants

SIDES = (4, 8, 14)


def plane(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (n, n // 2 + 1)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.parametrize("n", SIDES)
def test_quadrants_hold_real_and_imaginary_part_of_both_signs_of_ky(n):
    made, half = plane(n), n // 2 + 1
    quadrants = np.asarray(in_quadrants(jnp.asarray(made)))
    for ky in range(half):
        np.testing.assert_allclose(quadrants[ky, :half], made[ky].real, rtol=1e-6)
        np.testing.assert_allclose(quadrants[ky, half:], made[-ky].real, rtol=1e-6)
        np.testing.assert_allclose(quadrants[half + ky, :half], made[-ky].imag, rtol=1e-6)
        np.testing.assert_allclose(quadrants[half + ky, half:], -made[ky].imag, rtol=1e-6)


@pytest.mark.parametrize("n", SIDES)
@pytest.mark.parametrize("module", [np, jnp])
def test_weighted_inner_products_are_those_of_half_planes(n, module):
    """Real weights that differ from pixel to pixel, also where a row stands twice."""
    one, other = plane(n, 1), plane(n, 2)
    weight = np.random.default_rng(3).normal(size=one.shape)
    expected = np.sum(weight**2 * np.real(one * other.conj()))
    factor = weights_in_quadrants(module.asarray(weight))
    assert isinstance(factor, module.ndarray)
    found = np.sum(np.asarray(in_quadrants(one) * factor) * np.asarray(in_quadrants(other) * factor))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("n", SIDES)
def test_weights_multiply_as_in_the_half_plane_but_for_doubled_rows(n):
    made = plane(n)
    weight = np.random.default_rng(4).normal(size=made.shape)
    factor = weights_in_quadrants(weight)
    quadrants = np.asarray(in_quadrants(made)) * factor
    whole = np.asarray(in_quadrants(made * weight))
    kept = factor != 0
    np.testing.assert_allclose(quadrants[kept], whole[kept], rtol=1e-5)
    assert np.count_nonzero(kept) == 2 * made.size


@pytest.mark.parametrize("n", SIDES)
def test_times_i_is_multiplication_of_the_plane(n):
    made = plane(n)
    several = jnp.stack([in_quadrants(made), in_quadrants(2 * made)])
    np.testing.assert_allclose(times_i(several)[1], in_quadrants(2j * made), rtol=1e-6)
