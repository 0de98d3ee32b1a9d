"""The part of the signal that a model explains: 1 for the truth, 0 for nothing, however much noise there is."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.models.corner_noise import CORNER, _weight_of_corners, measure_explainable, measure_noise
from libhetero.physics.fourier import disc_indices
from libhetero.physics.masks import soft_disc
from tests.making.images import particles

N, COUNT = 32, 1600
RANDOM = np.random.default_rng(2)
AXIS = np.arange(N) - N // 2
BLOB = np.exp(-(AXIS[:, None] ** 2 + AXIS[None, :] ** 2) / (2 * 3.0**2))


def sample_of(signal: float, noise: float):
    """Return particles that show a blob so strongly in white noise of such a deviation."""
    images = signal * BLOB + noise * RANDOM.normal(size=(COUNT, N, N))
    batch = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[:1], COUNT, axis=0), particles())
    return dataclasses.replace(batch, images=images.astype(np.float32), weight=np.ones(COUNT, np.float32))


def disc_weight() -> np.ndarray:
    weight, disc = np.zeros(N * (N // 2 + 1), np.float32), disc_indices(N)
    weight[disc] = 1 / len(disc)
    return weight.reshape(N, -1)


@pytest.mark.parametrize("noise", [0.1, 1.0, 2.0])
def test_what_can_be_explained_is_the_power_without_the_noise(noise) -> None:
    sample, weight = sample_of(2.0, noise), disc_weight()
    blob = np.fft.rfft2(2.0 * BLOB) / N
    expected = np.sum(weight * np.abs(blob) ** 2)
    assert measure_explainable(sample, weight, measure_noise(sample, N)) == pytest.approx(expected, rel=0.15)


def images_of(count: int, signal: float, noise: np.ndarray):
    """Return images of a blob in white noise of a deviation of their own, of a box of 32."""
    images = signal * BLOB + noise[:, None, None] * RANDOM.normal(size=(count, N, N))
    batch = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[:1], count, axis=0), particles())
    return dataclasses.replace(batch, images=images.astype(np.float32), weight=np.ones(count, np.float32))


def test_a_faint_signal_is_right_or_not_told() -> None:
    """Of 2 % of the noise, which differs from image to image; of 0.5 % of it, and of few images, nothing is told."""
    weight, count = disc_weight(), 4096
    blob = float(np.sum(weight * np.abs(np.fft.rfft2(BLOB) / N) ** 2))
    noise = RANDOM.uniform(0.7, 1.3, count)
    of_noise = float(np.sum(weight * np.mean(noise**2)))
    for part, images, told in ((0.02, count, True), (0.005, count, False), (0.02, 64, False)):
        sample = images_of(images, np.sqrt(part * of_noise / blob), noise[:images])
        found = measure_explainable(sample, weight, measure_noise(sample, N))
        assert found == (pytest.approx(part * of_noise, rel=0.25) if told else 0.0), (part, images)


def test_noise_alone_is_taken_off_to_its_scatter() -> None:
    """What corners lose with their mean would be 0.4 % of the noise in this box."""
    count, weight = 20000, disc_weight()
    corners = 1 - np.asarray(soft_disc(N, CORNER * N / 2, N / 16), np.float64)
    images = RANDOM.normal(size=(count, N, N))
    outside = corners * (images - (np.sum(corners * images, axis=(1, 2)) / corners.sum())[:, None, None])
    said = np.abs(np.fft.rfft2(outside) / N) ** 2 * _weight_of_corners(weight, corners)
    assert said.sum() / count == pytest.approx(weight.sum(), rel=1.5e-3)


def test_of_noise_alone_nothing_can_be_explained() -> None:
    sample = sample_of(0.0, 1.0)
    assert measure_explainable(sample, disc_weight(), measure_noise(sample, N)) == 0.0
