"""FSC in a mask: what the mask alone brings about is found by random phases, and taken off."""

import numpy as np
import pytest

from libhetero.metrics.fsc import described_resolution, masked_fsc
from libhetero.metrics.masked_fsc import corrected_fsc, with_random_phases
from libhetero.physics.correlation import shell_index

N = 24


@pytest.fixture(scope="module")
def half_maps():
    """Two maps with a common signal within 6 voxels of the centre up to shell 5, and noise of their own everywhere."""
    random = np.random.default_rng(0)
    radius = np.linalg.norm(np.indices((N, N, N)) - N // 2, axis=0)
    signal = np.fft.rfftn(random.normal(size=(N, N, N)) * (radius < 6))
    signal = np.fft.irfftn(signal * (shell_index(N) <= 5), s=(N, N, N), axes=(0, 1, 2))
    noise = 0.15 * signal.std() * random.normal(size=(2, N, N, N))
    return (1e6 * (signal + noise)).astype(np.float32), (radius < 7).astype(np.float32)


def test_a_hard_mask_of_noise_correlates_and_the_correction_takes_it_off(half_maps):
    maps, _ = half_maps
    narrow = np.zeros((N, N, N), np.float32)
    narrow[10:14, 10:14, 10:14] = 1
    unmasked = masked_fsc(maps[0] / 1e6, maps[1] / 1e6)
    found = corrected_fsc(maps, narrow, unmasked)
    assert found.shell == np.flatnonzero(unmasked < 0.8)[0]
    beyond = slice(found.shell + 2, None)
    assert np.abs(found.corrected[beyond]).mean() < np.abs(found.masked[beyond]).mean() - 0.1
    np.testing.assert_array_equal(found.corrected[: found.shell + 2], found.masked[: found.shell + 2])


def test_what_is_common_within_the_mask_stays(half_maps):
    maps, mask = half_maps
    found = corrected_fsc(maps, mask, masked_fsc(maps[0] / 1e6, maps[1] / 1e6))
    assert found.corrected[1:5].min() > 0.95
    assert np.abs(found.corrected[9:]).max() < 0.3


def test_maps_that_agree_everywhere_need_no_random_phases(half_maps):
    maps, mask = half_maps
    same = np.stack([maps[0], maps[0]])
    found = corrected_fsc(same, mask, np.ones(N // 2, np.float32))
    assert found.shell is None and not found.random.any()
    np.testing.assert_allclose(found.corrected, 1, atol=1e-4)


def test_random_phases_keep_amplitudes_and_what_is_below_the_shell(half_maps):
    volume = half_maps[0][0]
    changed = with_random_phases(volume, 4, np.random.default_rng(1))
    old, new = np.fft.rfftn(volume), np.fft.rfftn(changed)
    scale = np.abs(old).max()
    np.testing.assert_allclose(np.abs(new), np.abs(old), atol=1e-5 * scale)
    low = shell_index(N) < 4
    np.testing.assert_allclose(new[low], old[low], atol=1e-5 * scale)
    assert abs(np.vdot(new[~low], old[~low])) < 0.1 * np.vdot(old[~low], old[~low]).real


def test_a_resolution_that_is_never_reached_is_told_as_such():
    assert described_resolution(np.array([1, 0.9, 0.5, 0.2]), 0.143, 2.0) == "the last shell, 5.33 Å"
    assert described_resolution(np.array([1, 0.9, 0.143, 0.0]), 0.143, 2.0) == "8 Å"
