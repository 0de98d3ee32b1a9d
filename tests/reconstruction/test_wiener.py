"""The Wiener filter and what sets its strength."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from libhetero.physics import slices
from libhetero.physics.fourier import hermitian_weight
from libhetero.reconstruction import wiener
from tests.reference import backproject as twin

N, PADDED = 8, 16


def half_space(seed, padded=PADDED, deviation=1.0):
    """The transform of real noise, of unit power a voxel times the square of `deviation`."""
    values = np.random.default_rng(seed).normal(size=(padded,) * 3) * deviation
    return (np.fft.rfftn(values) / padded**1.5).astype(np.complex64)


def coverage(seed, padded=PADDED):
    """Weights that fall with |k| and differ from voxel to voxel, the same at k and -k."""
    draw = np.abs(half_space(seed, padded)) ** 2
    return (draw / (0.2 + wiener.radius_3d(padded) * 4)).astype(np.float32)


def test_the_filter_agrees_with_the_loops():
    numerator, weight = half_space(1), coverage(2)
    ratio = np.array([0.01, 0.02, 0.1, 0.5, 1.0])
    found = wiener.Grid(N, PADDED).volume(numerator, weight, ratio)
    expected = twin.filtered(twin.full_grid(numerator), twin.full_grid(weight), ratio, N)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_the_average_agrees_with_the_loops():
    grid = half_space(3)
    low = grid * (wiener.radius_3d(PADDED) < 0.4)  # beyond Nyquist of the box there is nothing
    expected = twin.averaged(twin.full_grid(low))[..., : PADDED // 2 + 1]
    inside = wiener.radius_3d(PADDED) < 0.5 - 1 / PADDED
    np.testing.assert_allclose(wiener.averaged(low)[inside], expected[inside], atol=1e-5)


def sums(signal, noise, padded=32):
    """N and D of two half-sets: D V + noise, whose power is D times `noise` where D is 1."""
    volume = half_space(4, padded, signal)
    weight = np.stack([coverage(5, padded), coverage(6, padded)])
    hiss = np.stack([half_space(7, padded, noise), half_space(8, padded, noise)])
    return (weight * volume + np.sqrt(weight) * hiss).astype(np.complex64), weight


def test_signal_and_noise_are_told_apart():
    found = wiener.Grid(16, 32).powers(*sums(signal=3.0, noise=2.0))
    np.testing.assert_allclose(found.signal[3:-1], 9.0, rtol=0.2)
    np.testing.assert_allclose(found.noise[3:-1], 4.0 / (2 / 3) ** 3 / 8, rtol=0.2)
    weight = np.broadcast_to(hermitian_weight(32), (32, 32, 17))
    shell = np.rint(wiener.radius_3d(32) * 16) == 5
    both = sums(3.0, 2.0)[1].sum(axis=0)
    assert found.coverage[5] == pytest.approx(np.average(both[shell], weights=weight[shell]), rel=1e-5)


def test_signal_alone_leaves_no_noise_and_noise_alone_no_signal():
    grid = wiener.Grid(16, 32)
    assert grid.powers(*sums(signal=3.0, noise=0.0)).noise.max() < 1e-9
    noise = grid.powers(*sums(signal=0.0, noise=2.0))
    assert np.abs(noise.signal[3:-1] * noise.coverage[3:-1] / noise.noise[3:-1]).max() < 0.7


def test_what_a_voxel_keeps_of_the_noise():
    """κ: eight neighbours share a pixel's noise, and their squares add up to (2/3)³ of it."""
    fraction = np.random.default_rng(9).random((3, 100_000))
    squares = np.prod(fraction**2 + (1 - fraction) ** 2, axis=0)
    assert squares.mean() == pytest.approx(wiener.SPREAD, rel=0.01)


POWERS = wiener.ShellPowers(
    coverage=np.full(6, 10.0),
    signal=np.array([4.0, 2.0, 1e9, 0.001, -1.0, 1.0]),
    noise=np.full(6, 6.0),
    known=np.array([True, True, True, True, True, False]),
)


def test_regularisation_is_the_noise_over_the_signal_where_the_molecule_is():
    """Within limits; a shell without signal has the most, one of a single half-set what is said for it."""
    expected = [0.2 * 6 / 40, 0.2 * 6 / 20, wiener.LEAST, wiener.MOST, wiener.MOST, wiener.UNKNOWN]
    np.testing.assert_allclose(POWERS.regularisation(0.2), expected)
    doubled = dataclasses.replace(POWERS, noise=2 * POWERS.noise)
    np.testing.assert_allclose(doubled.regularisation(0.2)[:2], 2 * np.array(expected[:2]))
    np.testing.assert_allclose(POWERS.regularisation(0.1)[:2], np.array(expected[:2]) / 2)


@pytest.mark.parametrize("radius", [6, 9])
def test_the_filled_share_is_that_of_a_ball_of_texture(radius):
    n, random = 32, np.random.default_rng(10)
    axis = np.arange(n) - n // 2
    ball = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2 < radius**2
    smoothed = scipy.ndimage.gaussian_filter(ball.astype(float), wiener.WIDTH * n, mode="wrap")
    texture = ball * random.normal(size=(n,) * 3)
    half_maps = np.stack([texture + random.normal(size=(n,) * 3) for _ in range(2)])
    found = wiener.filled_share(half_maps, np.zeros(n // 2 + 1))
    assert found == pytest.approx(smoothed.sum() ** 2 / np.square(smoothed).sum() / n**3, rel=0.15)
    assert ball.mean() < found < 1.5 * ball.mean()


def test_noise_fills_the_whole_ball():
    random, n = np.random.default_rng(11), 16
    noise = random.normal(size=(n,) * 3)
    found = wiener.filled_share(np.stack([noise, -noise]), np.zeros(n // 2 + 1))
    assert found == pytest.approx(float(wiener.inner_ball(n).mean()))


def test_one_half_set_alone_gives_a_map():
    numerator, weight = sums(signal=3.0, noise=1.0)
    volume, half_maps = wiener.solved(numerator * np.array([1, 0]).reshape(2, 1, 1, 1), weight * [[[[1]]], [[[0]]]], 16)
    assert np.isfinite(volume).all() and volume.std() > 0 and not half_maps[1].any()


def test_half_maps_are_hardly_filtered_and_the_map_is():
    numerator, weight = sums(signal=1.0, noise=3.0)
    volume, half_maps = wiener.solved(numerator, weight, 16)
    grid, plain = wiener.Grid(16, 32), np.full(9, wiener.PLAIN)
    up, down = (slices.hermitian_plane(half[1]) for half in (numerator, weight))
    np.testing.assert_allclose(half_maps[1], grid.volume(up, down, plain) * wiener.inner_ball(16), atol=1e-6)
    assert volume.std() < 0.9 * half_maps.mean(axis=0).std()
    assert not volume[0].any() and not half_maps[:, :, :, 0].any(), "corners of the box are not in every image"
