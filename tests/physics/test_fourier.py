"""Transforms about the box centre."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import fourier
from tests.reference import fourier as twin


def random_image(n, dimensions=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n,) * dimensions).astype(np.float32)


@pytest.mark.parametrize("n", [8, 9])
def test_image_agrees_with_the_explicit_sum(n):
    image = random_image(n)
    np.testing.assert_allclose(fourier.fourier_image(image), twin.fourier_image(image), atol=1e-4)
    np.testing.assert_allclose(fourier.real_image(fourier.fourier_image(image), n), image, atol=1e-6)


@pytest.mark.parametrize("n", [2, 8, 9, 64])
def test_matrix_products_are_the_fast_transforms(n):
    image = random_image(n)
    made = fourier.dft_image(image)
    np.testing.assert_allclose(made, fourier.fourier_image(image), atol=1e-6 * n**1.5)
    np.testing.assert_allclose(fourier.inverse_dft_image(made, n), image, atol=5e-6)


@pytest.mark.parametrize("n", [12, 13])
def test_a_smaller_grid_holds_the_low_frequencies(n):
    image = random_image(n)
    whole, m = np.asarray(fourier.fourier_image(image)), 8
    expected = np.concatenate([whole[: m // 2], whole[n - m // 2 :]])[:, : m // 2 + 1]
    np.testing.assert_allclose(fourier.dft_image(image, m), expected, atol=1e-4)


@pytest.mark.parametrize("n", [8, 9])
def test_the_inverse_by_products_ignores_what_a_real_image_cannot_have(n):
    """Imaginary parts along kx = 0, and at Nyquist, as the fast inverse does."""
    rng = np.random.default_rng(1)
    plane = (rng.normal(size=(n, n // 2 + 1)) + 1j * rng.normal(size=(n, n // 2 + 1))).astype(np.complex64)
    found = fourier.inverse_dft_image(jnp.asarray(plane), n)
    np.testing.assert_allclose(found, fourier.real_image(plane, n), atol=2e-6)


def test_volume_agrees_with_the_explicit_sum():
    volume = random_image(6, 3)
    expected = twin.fourier_volume(volume)
    np.testing.assert_allclose(fourier.fourier_volume(volume), expected, atol=1e-4)
    np.testing.assert_allclose(fourier.real_volume(expected, 6), volume, atol=1e-6)


def test_half_plane_is_friedels():
    """Every pixel of the full transform follows from the half by F(-k) = conj F(k)."""
    image = random_image(10)
    full = np.fft.fft2(np.fft.ifftshift(image))
    np.testing.assert_allclose(twin.full_plane(fourier.fourier_image(image)), full, atol=1e-4)


@pytest.mark.parametrize("n", [8, 9])
def test_parseval_with_the_hermitian_weight(n):
    image = random_image(n)
    power = np.abs(fourier.fourier_image(image)) ** 2 * fourier.hermitian_weight(n)
    assert power.sum() / n**2 == pytest.approx(np.sum(image**2), rel=1e-5)


def test_centred_delta_is_one_everywhere():
    image = np.zeros((8, 8), np.float32)
    image[4, 4] = 1
    np.testing.assert_allclose(fourier.fourier_image(image), np.ones((8, 5)), atol=1e-6)


def test_frequencies_are_where_a_wave_says():
    """A cosine along x peaks at its own kx, one along y at its own ky."""
    n = 16
    axis = np.arange(n) - n // 2
    along_x = np.cos(2 * np.pi * 3 * axis / n)[None, :] * np.ones((n, 1))
    peak = np.unravel_index(np.abs(fourier.fourier_image(along_x)).argmax(), (n, n // 2 + 1))
    np.testing.assert_allclose(fourier.frequencies_2d(n)[peak] * n, [3, 0])
    peak = np.unravel_index(np.abs(fourier.fourier_image(along_x.T)).argmax(), (n, n // 2 + 1))
    np.testing.assert_allclose(np.abs(fourier.frequencies_2d(n)[peak] * n), [0, 3])
    np.testing.assert_allclose(fourier.frequencies_3d(n)[2, 15, 5] * n, [5, -1, 2])


@pytest.mark.parametrize("shift", [(3, -2), (-1, 0)])
def test_shift_is_a_phase_ramp(shift):
    image = random_image(12)
    ramp = fourier.phase_ramp(fourier.frequencies_2d(12), jnp.asarray(shift, jnp.float32))
    moved = fourier.real_image(fourier.fourier_image(image) * ramp, 12)
    np.testing.assert_allclose(moved, np.roll(image, (shift[1], shift[0]), (0, 1)), atol=1e-5)


def test_phase_ramp_keeps_precision_far_out():
    frequency = np.array([[0.5, 0.25]], np.float32)
    ramp = fourier.phase_ramp(jnp.asarray(frequency), jnp.asarray([10_001.0, 2.0]))
    np.testing.assert_allclose(ramp, [1.0], atol=1e-5)


def test_rings_and_disc():
    n = 12
    k = np.array(twin.wave_numbers(n))
    for row in range(n):
        for column in range(n // 2 + 1):
            nearest = int(np.hypot(k[row], column) + 0.5)
            assert fourier.ring_index(n)[row, column] == nearest
    kept = fourier.disc_indices(n)
    expected = [
        row * (n // 2 + 1) + column
        for row in range(n)
        for column in range(n // 2 + 1)
        if 0 < np.hypot(k[row], column) < n / 2 and not (column == 0 and k[row] < 0)
    ]
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("n", [360, 500])
def test_disc_boundary_is_exact(n):
    """Pixels at |k| = n / 2 exactly (Pythagorean triples) are out, in every quadrant."""
    frequency = np.rint(fourier.frequencies_2d(n).reshape(-1, 2)[fourier.disc_indices(n)] * n)
    assert np.all((frequency**2).sum(axis=-1) < (n // 2) ** 2)


@pytest.mark.parametrize("m", [8, 7, 16])
def test_crop_keeps_level_and_low_waves(m):
    """A slow wave plus a constant looks the same in the smaller box; a fast wave is gone."""
    n = 16
    axis = (np.arange(n) - n // 2) / n
    image = 5 + np.cos(2 * np.pi * 2 * axis)[None, :] + np.sin(2 * np.pi * axis)[:, None]
    cropped = fourier.crop_fourier_image(fourier.fourier_image(image + 0.0), m)
    small = (np.arange(m) - m // 2) / m
    expected = 5 + np.cos(2 * np.pi * 2 * small)[None, :] + np.sin(2 * np.pi * small)[:, None]
    np.testing.assert_allclose(fourier.real_image(cropped, m), expected, atol=1e-5)


def test_cropped_half_plane_is_that_of_a_real_image():
    cropped = fourier.crop_fourier_image(fourier.fourier_image(random_image(16)), 10)
    again = fourier.fourier_image(fourier.real_image(cropped, 10))
    np.testing.assert_allclose(cropped, again, atol=1e-4)


def test_crop_volume_keeps_level():
    n, m = 12, 8
    axis, small = (np.arange(n) - n // 2) / n, (np.arange(m) - m // 2) / m
    wave = 2 + np.cos(2 * np.pi * axis)[:, None, None] * np.ones((n, n, n))
    expected = 2 + np.cos(2 * np.pi * small)[:, None, None] * np.ones((m, m, m))
    np.testing.assert_allclose(fourier.crop_volume(jnp.asarray(wave), m), expected, atol=1e-5)


def test_jit_and_vmap():
    images = np.stack([random_image(8, seed=s) for s in range(3)])
    batched = jax.jit(jax.vmap(fourier.fourier_image))(images)
    for image, one in zip(images, batched, strict=True):
        np.testing.assert_allclose(one, fourier.fourier_image(image), atol=1e-5)
