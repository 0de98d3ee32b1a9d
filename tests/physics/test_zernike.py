"""Zernike polynomials of a frequency."""

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics.zernike import orders, zernike_sum
from tests.reference import zernike as twin


def test_the_order_is_that_of_relion():
    """As its manual lists them: Z(2, -2) is term 1 of the even ones, Z(4, 0), of the spherical aberration, term 6."""
    even = [(0, 0), (2, -2), (2, 0), (2, 2), (4, -4), (4, -2), (4, 0), (4, 2), (4, 4)]
    odd = [(1, -1), (1, 1), (3, -3), (3, -1), (3, 1), (3, 3), (5, -5)]
    assert orders(9, odd=False) == even and orders(7, odd=True) == odd
    assert orders(4, odd=False) == even[:4] and orders(0, odd=True) == []


@pytest.mark.parametrize(("odd", "terms"), [(False, 16), (False, 3), (True, 12), (True, 2)])
def test_agrees_with_polar_coordinates(odd, terms):
    random = np.random.default_rng(4)
    coefficients, (x, y) = random.normal(size=terms), random.uniform(-1, 1, size=(2, 40))
    x[0] = y[0] = y[1] = x[2] = 0
    phase = twin.odd_phase if odd else twin.even_phase
    expected = [phase(coefficients, *at) for at in zip(x, y, strict=True)]
    np.testing.assert_allclose(zernike_sum(coefficients, x, y, odd), expected, atol=1e-12)
    on_device = zernike_sum(jnp.asarray(coefficients), jnp.asarray(x), jnp.asarray(y), odd)
    np.testing.assert_allclose(on_device, expected, atol=1e-4)


def test_parity():
    """Even terms make a CTF that is even, odd ones a phase that is odd."""
    x, y = np.random.default_rng(5).uniform(-1, 1, size=(2, 9))
    ones = np.ones(12)
    np.testing.assert_allclose(zernike_sum(ones, -x, -y, False), zernike_sum(ones, x, y, False), atol=1e-12)
    np.testing.assert_allclose(zernike_sum(ones, -x, -y, True), -zernike_sum(ones, x, y, True), atol=1e-12)
