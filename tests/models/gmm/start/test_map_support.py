"""Where a map's molecule is and how far the map goes, in maps with known noise."""

import jax
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.models.gmm.start.map_support import (
    background,
    default_threshold,
    molecule_mask,
    reliability,
    smoothed,
    symmetry_agreement,
)
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from tests.making.mixtures import mixture

N, PIXEL = 32, 4.0
DISTANCE = np.linalg.norm(np.indices((N, N, N)) - N // 2, axis=0)
STRONG = np.linalg.norm(np.indices((N, N, N)) - np.array([16, 16, 12])[:, None, None, None], axis=0) < 4
WEAK = np.linalg.norm(np.indices((N, N, N)) - np.array([16, 16, 22])[:, None, None, None], axis=0) < 3


def blobs(noise: float, seed: int = 0) -> np.ndarray:
    """A piece of density 1 and one of a third of it, apart, in white noise."""
    random = np.random.default_rng(seed)
    return (STRONG + WEAK / 3 + noise * random.normal(size=STRONG.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.12])
@pytest.mark.parametrize("masked", [False, True])
def test_weak_pieces_are_found_and_noise_is_not(noise, masked):
    volume = blobs(noise)
    if masked:
        volume = np.where(DISTANCE < 14, volume, 0)
    inside = molecule_mask(volume, PIXEL)
    assert inside[STRONG].mean() > 0.97 and inside[WEAK].mean() > 0.9
    near = smoothed((STRONG | WEAK).astype(np.float32), 2.5) > 0.02
    assert not inside[~near].any()


def test_background_is_measured_beside_the_molecule():
    volume = blobs(0.05) + 0.3
    level, deviation = background(volume)
    assert level == pytest.approx(0.3, abs=0.005)
    assert deviation == pytest.approx(0.05, rel=0.1)
    assert background(STRONG.astype(np.float32))[1] == 0.0
    assert default_threshold(smoothed(volume, PIXEL)) < 0.3 + 1 / 3


def test_a_given_threshold_is_taken_at_its_word():
    volume = blobs(0.0)
    np.testing.assert_array_equal(molecule_mask(volume, PIXEL, 0.5), STRONG)
    with pytest.raises(DataError, match="0 voxels above the threshold 9"):
        molecule_mask(volume, PIXEL, 9.0)
    with pytest.raises(DataError, match="0 voxels above the threshold"):
        molecule_mask(np.zeros((8, 8, 8), np.float32), PIXEL)


def broad_mixture(count):
    return mixture(count, seed=3, spread=10, amplitude=1, sigma=4)


to_volume = jax.jit(lambda gaussians: gaussians_to_volume(gaussians, N, PIXEL))


def test_background_and_half_maps_say_the_same_of_where_a_map_ends():
    """White noise: C = 1 - N / P, and 0 from the first shell of the noise's making."""
    clean = np.asarray(to_volume(broad_mixture(40)))
    random = np.random.default_rng(0)
    halves = [clean + 0.02 * clean.max() * random.normal(size=clean.shape) for _ in range(2)]
    volume = np.mean(halves, axis=0)
    inside = molecule_mask(volume, PIXEL)
    by_background = reliability(volume, inside)
    by_halves = reliability(volume, inside, tuple(halves))
    ends = [np.count_nonzero(found) for found in (by_background, by_halves)]
    assert 6 < ends[0] < 15 and abs(ends[0] - ends[1]) <= 1
    np.testing.assert_allclose(by_background[: min(ends) - 1], by_halves[: min(ends) - 1], atol=0.15)
    assert np.all(reliability(clean, inside) > 0.99), "a noiseless map goes to the end"


def test_shells_that_a_filter_emptied_are_not_trusted():
    clean = np.asarray(to_volume(broad_mixture(40)))
    fourier = np.fft.rfftn(np.fft.ifftshift(clean))
    frequency = np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N), np.fft.rfftfreq(N), indexing="ij")
    fourier[np.linalg.norm(frequency, axis=0) * N > 7] = 0
    filtered = np.fft.fftshift(np.fft.irfftn(fourier, s=clean.shape, axes=(0, 1, 2)))
    assert np.count_nonzero(reliability(filtered, molecule_mask(filtered, PIXEL))) <= 9


def test_agreement_tells_symmetric_maps():
    operators = symmetry_operators("c3")
    unit = broad_mixture(12)
    symmetric = np.asarray(to_volume(symmetric_copies(unit, operators)))
    assert symmetry_agreement(symmetric, PIXEL, operators) > 0.95
    assert symmetry_agreement(np.asarray(to_volume(unit)), PIXEL, operators) < 0.8
