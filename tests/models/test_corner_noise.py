"""The part of the signal that a model explains: 1 for the truth, 0 for nothing, however much noise there is."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.models.corner_noise import measure_explainable, measure_noise
from libhetero.physics.fourier import disc_indices
from tests.making.images import particles

N, COUNT = 32, 400
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


def test_of_noise_alone_nothing_can_be_explained() -> None:
    sample = sample_of(0.0, 1.0)
    assert measure_explainable(sample, disc_weight(), measure_noise(sample, N)) == 0.0
