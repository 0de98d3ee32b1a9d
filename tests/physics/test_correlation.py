"""Ring and shell correlation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import correlation
from libhetero.physics.fourier import fourier_image
from tests.reference import correlation as twin
from tests.reference.fourier import full_plane, wave_numbers


def two_images(n=12, seed=0):
    random = np.random.default_rng(seed)
    first = random.normal(size=(n, n))
    return [fourier_image(image) for image in (first, first + random.normal(size=(n, n)))]


def test_rings_agree_with_loops_over_the_full_plane():
    first, second = two_images()
    found = correlation.fourier_ring_correlation(first, second)
    np.testing.assert_allclose(found, twin.ring_correlation(first, second), atol=1e-5)


def test_shells_agree_with_loops_over_the_full_space():
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 10, 10, 10))
    found = correlation.fourier_shell_correlation(jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_allclose(found, twin.shell_correlation(first, second), atol=1e-5)


def test_ring_sum_counts_the_full_plane():
    n = 10
    found = correlation.ring_sum(jnp.ones((n, n // 2 + 1)), rings=8)
    k = np.array(wave_numbers(n))
    radius = np.floor(np.hypot(k[:, None], k[None, :]) + 0.5)
    np.testing.assert_allclose(found, [(radius == ring).sum() for ring in range(8)])
    assert full_plane(np.ones((n, n // 2 + 1))).size == found.sum()


def test_scale_changes_nothing_and_sign_inverts():
    first, _ = two_images()
    np.testing.assert_allclose(correlation.fourier_ring_correlation(first, 3 * first), 1, atol=1e-5)
    np.testing.assert_allclose(correlation.fourier_ring_correlation(first, -first), -1, atol=1e-5)


def test_empty_ring_gives_zero_and_no_nan_gradient():
    first, second = two_images()
    first = first * (np.abs(np.arange(7))[None, :] < 3)
    empty = jnp.zeros_like(second)

    def score(scale):
        return jnp.sum(correlation.fourier_ring_correlation(first * scale, empty))

    assert float(score(1.0)) == 0
    assert np.isfinite(jax.grad(score)(1.0))


def test_shell_boundaries_are_exact_in_boxes_that_are_no_power_of_two():
    """In a box of 60, |k| = 5 exactly for (3, 4, 0): it belongs to shell 6."""
    n = 60
    wave = np.zeros((n, n, n), np.float32)
    axis = (np.arange(n) - n // 2) / n
    y, x = np.meshgrid(axis, axis, indexing="ij")
    wave[:] = np.cos(2 * np.pi * (3 * x + 4 * y))
    noise = 1e-3 * np.random.default_rng(2).normal(size=wave.shape)
    found = correlation.fourier_shell_correlation(jnp.asarray(wave), jnp.asarray(wave + noise))
    assert found[6] == pytest.approx(1, abs=1e-3) and abs(found[5]) < 0.5
