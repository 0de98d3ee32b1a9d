"""How many independent changes of a molecule its particles can tell."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.start.independent_changes import (
    SHOWN,
    USUAL_RATIO,
    ParticleInformation,
    independent_changes,
    information_of,
)

N, EXTENT = 32, 96.0  # voxels, Å
VOLUME = 0.1 * EXTENT**3


def number_in(shell: int, volume: float = VOLUME) -> float:
    """Independent numbers of a density in a shell."""
    return volume * 4 / 3 * np.pi * (shell**3 - (shell - 1) ** 3) / EXTENT**3


def told(ratio: float, particles: float, shells: slice = slice(2, 9), **more: float) -> float:
    curve = np.zeros(N // 2)
    curve[shells] = ratio
    return independent_changes(ParticleInformation(curve, particles), more.pop("volume", VOLUME), EXTENT, **more)


def test_what_shows_as_variance_at_two_deviations_counts_by_half() -> None:
    """Particles drawn one by one: the variance of what half of them hold, in deviations from that of noise."""
    particles, repeats, ratio_each = 800, 300, 0.4
    random = np.random.default_rng(0)
    held = random.random((repeats, particles)) < 0.5
    seen = np.sqrt(ratio_each) * held + random.normal(size=held.shape)
    above = (seen.var(axis=1) - 1) / np.sqrt(2 / particles)
    assert above.mean() == pytest.approx(2.0, abs=0.15)
    share = min(0.75 * np.pi * (0.75 * VOLUME / np.pi) ** (2 / 3) / VOLUME / (1.5 / EXTENT), 1.0)
    assert share == 1.0, "all projections show the coarsest shell"
    counted = told(ratio_each * particles, particles, slice(2, 3)) / number_in(2)
    assert counted == pytest.approx(0.5, abs=1e-6)
    assert SHOWN == 4


def test_fine_detail_is_seen_by_few_particles_each() -> None:
    """Of as much information, that which is in fewer particles shows as a larger variance."""
    coarse, fine = (told(300.0, 5000, slice(shell, shell + 1)) / number_in(shell) for shell in (3, 12))
    assert fine > 2 * coarse
    assert told(300.0, 5000, slice(12, 13), copies=3) < told(300.0, 5000, slice(12, 13)) / 3 * 1.01


def test_it_grows_with_particles_signal_and_size() -> None:
    few = told(100.0, 1000)
    assert few < told(400.0, 4000) < 4 * few, "the same images, four times as many"
    assert told(400.0, 4000) < told(400.0, 1000), "as many images, four times the signal"
    assert told(100.0, 1000, volume=2 * VOLUME) == pytest.approx(2 * few, rel=0.3)
    assert told(0.0, 1000) == 0
    every = sum(number_in(shell) for shell in range(2, 9))
    assert told(1e6, 10) == pytest.approx(every, rel=1e-3)


def half_maps(masked: bool) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], float]:
    """A molecule's voxels, half-maps of white signal of variance 1 and noise of 2 each, and C of every shell."""
    random = np.random.default_rng(1)
    inside = np.zeros((N, N, N), bool)
    inside[8:24, 8:24, 8:24] = True
    signal = random.normal(size=inside.shape) * inside
    first, second = (signal + np.sqrt(2) * random.normal(size=inside.shape) for _ in range(2))
    share = 1.0 if masked else inside.mean()
    kept = inside if masked else 1.0
    return inside, (first * kept, second * kept), share / (share + 1)  # of the whole map, with noise of 1


@pytest.mark.parametrize("masked", [False, True])
def test_noise_outside_the_molecule_is_no_concern(masked: bool) -> None:
    """Signal over noise where the molecule is, whatever of the noise a mask has left."""
    inside, halves, trust = half_maps(masked)
    found = information_of(np.full(N // 2, trust), halves, inside, 700)
    assert found is not None and found.known and found.particles == 700
    np.testing.assert_allclose(found.ratio[2:], 1.0, rtol=0.05)
    assert not found.ratio[:2].any()


def test_unknown_number_is_that_of_usual_images() -> None:
    """The information of all images, Σ SNR over their pixels, is that of the map, Σ S over its voxels."""
    inside, halves, trust = half_maps(masked=False)
    found = information_of(np.full(N // 2, trust), halves, inside, None)
    assert found is not None and not found.known
    voxels = 4 / 3 * np.pi * (N // 2 - 1) ** 3
    expected = voxels * trust / (1 - trust) / (USUAL_RATIO * N**2)
    assert found.particles == pytest.approx(expected, rel=0.02)


def test_half_maps_without_noise_tell_nothing() -> None:
    inside, (first, _), trust = half_maps(masked=False)
    assert information_of(np.full(N // 2, trust), (first, first), inside, 700) is None
    sure = information_of(np.ones(N // 2), half_maps(masked=False)[1], inside, 700)
    assert sure is not None and np.isfinite(sure.ratio).all()
    assert independent_changes(dataclasses.replace(sure, particles=1.0), VOLUME, EXTENT) > 0
