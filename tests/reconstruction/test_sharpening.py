"""A map that a B-factor has blurred is measured and made sharp again."""

import numpy as np
import pytest

from libhetero.physics.fourier import frequencies_3d
from libhetero.reconstruction.sharpening import correlation_with_truth, guinier_b_factor, sharpened

N, PIXEL, B = 48, 1.5, 120.0


def blurred(b_factor):
    """Return white noise with this B-factor, the same noise each time."""
    noise = np.fft.rfftn(np.random.default_rng(0).normal(size=(N, N, N)))
    square = np.sum(np.square(frequencies_3d(N) / PIXEL), axis=-1)
    return np.fft.irfftn(noise * np.exp(-b_factor * square / 4), s=(N, N, N), axes=(0, 1, 2)).astype(np.float32)


def test_the_b_factor_of_a_map_is_found():
    perfect = np.ones(N // 2)
    assert guinier_b_factor(blurred(B), perfect, PIXEL, 3.5) == pytest.approx(-B, rel=0.05)
    assert guinier_b_factor(blurred(0.0), perfect, PIXEL, 3.5) == pytest.approx(0, abs=5)
    falling = np.where(np.arange(N // 2) < 12, 1, 0.4)
    assert guinier_b_factor(blurred(B), falling, PIXEL, 3.5) < -B - 10, "shells of less correlation count for less"


def test_few_shells_tell_no_b_factor():
    assert guinier_b_factor(blurred(B), np.ones(N // 2), PIXEL, 9.8) is None


def test_sharpening_undoes_the_blur_up_to_the_resolution_and_leaves_nothing_beyond():
    made = sharpened(blurred(B), np.ones(N // 2), PIXEL, -B, 4.0)
    found, true = np.fft.rfftn(made), np.fft.rfftn(blurred(0.0))
    shell = np.linalg.norm(frequencies_3d(N), axis=-1) * N
    inside, outside = shell < N * PIXEL / 4.0 - 1, shell > N * PIXEL / 4.0 + 3
    np.testing.assert_allclose(found[inside], true[inside], atol=1e-3 * np.abs(true).max())
    assert np.abs(found[outside]).max() < 1e-4 * np.abs(true).max()


def test_the_correlation_with_the_truth_is_that_of_the_whole_set():
    np.testing.assert_allclose(correlation_with_truth(np.array([1, 0.143, 0, -0.2])), [1, 0.5, 0, 0], atol=1e-3)
