"""How many independent changes of a molecule its particles can tell."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.start.independent_changes import (
    SHOWN,
    USUAL_COUNT,
    USUAL_RATIO,
    Extent,
    ParticleInformation,
    by_half_maps,
    by_images,
    by_usual_images,
    independent_changes,
)

N, BOX = 32, 96.0  # voxels, Å
EXTENT = Extent(0.1 * BOX**3, BOX)


def number_in(shell: int) -> float:
    """Independent numbers of the molecule in a shell."""
    return EXTENT.volume * 4 / 3 * np.pi * (shell**3 - (shell - 1) ** 3) / BOX**3


def told(ratio: float, particles: float, shells: slice = slice(2, 9), extent: Extent = EXTENT) -> float:
    curve = np.zeros(N // 2)
    curve[shells] = ratio
    return independent_changes(ParticleInformation(curve, particles), extent)


def test_what_shows_as_variance_at_two_deviations_counts_by_half() -> None:
    """Particles drawn one by one: the variance of what half of them hold, in deviations from that of noise."""
    particles, repeats, ratio_each = 800, 300, 0.4
    random = np.random.default_rng(0)
    held = random.random((repeats, particles)) < 0.5
    seen = np.sqrt(ratio_each) * held + random.normal(size=held.shape)
    above = (seen.var(axis=1) - 1) / np.sqrt(2 / particles)
    assert above.mean() == pytest.approx(2.0, abs=0.15)
    whole = Extent(0.004 * BOX**3, BOX)
    assert whole.shown(N // 2)[2] > 1, "all projections of a small molecule show the coarsest shells"
    assert told(ratio_each * particles, particles, slice(2, 3), whole) == pytest.approx(whole.numbers(3)[2] / 2)
    assert SHOWN == 4


def test_many_must_show_as_the_largest_of_as_many_without_a_change() -> None:
    """One shell of M numbers of variance Q: K = M Q / (Q + 2 ln K), and the largest of K draws is near √(2 ln K)."""
    large = Extent(0.2 * BOX**3, BOX)
    shell, particles, ratio = 14, 5000, 500.0
    found = told(ratio, particles, slice(shell, shell + 1), large)
    variance = ratio**2 / (32 * particles * min(large.shown(N // 2)[shell], 1.0))
    numbers = large.numbers(N // 2)[shell]
    assert found == pytest.approx(numbers * variance / (variance + 2 * np.log(found)), rel=1e-6)
    largest = np.random.default_rng(0).normal(size=(500, int(found))).max(axis=1)
    assert np.median(largest) == pytest.approx(np.sqrt(2 * np.log(found)), rel=0.2)


def test_the_share_that_one_section_shows() -> None:
    """Planes through the origin, drawn at random: how often within half a number's width of a place."""
    random = np.random.default_rng(0)
    normal = random.normal(size=(100_000, 3))
    height = np.abs(normal[:, 2]) / np.linalg.norm(normal, axis=1)
    shell = 9
    place, thickness = (shell - 0.5) / BOX, EXTENT.volume / EXTENT.area
    shown = np.mean(height * place < 0.5 / thickness)
    assert EXTENT.shown(N // 2)[shell] == pytest.approx(shown, rel=0.03)
    three = dataclasses.replace(EXTENT, copies=3)
    np.testing.assert_allclose(three.shown(N // 2), 3 * EXTENT.shown(N // 2))
    np.testing.assert_allclose(3 * three.numbers(N // 2), EXTENT.numbers(N // 2))


def test_fine_detail_is_seen_by_few_particles_each() -> None:
    """Of as much information, that which is in fewer particles shows as a larger variance."""
    coarse, fine = (told(150.0, 5000, slice(shell, shell + 1)) / number_in(shell) for shell in (3, 12))
    assert fine > 2 * coarse


def test_it_grows_with_particles_signal_and_size() -> None:
    few = told(100.0, 1000)
    assert few < told(400.0, 4000) < 4 * few, "the same images, four times as many"
    assert told(400.0, 4000) < told(400.0, 1000), "as many images, four times the signal"
    twice = told(100.0, 1000, extent=dataclasses.replace(EXTENT, volume=2 * EXTENT.volume))
    assert twice == pytest.approx(2 * few, rel=0.3)
    assert told(0.0, 1000) == 0
    assert told(1e6, 10) == pytest.approx(sum(map(number_in, range(2, 9))), rel=1e-3)


def half_maps(masked: bool) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """A molecule's voxels, half-maps of white signal of variance 1 and noise of 2 each, and C of every shell."""
    random = np.random.default_rng(1)
    inside = np.zeros((N, N, N), bool)
    inside[8:24, 8:24, 8:24] = True
    signal = random.normal(size=inside.shape) * inside
    first, second = (signal + np.sqrt(2) * random.normal(size=inside.shape) for _ in range(2))
    share = 1.0 if masked else inside.mean()
    kept = inside if masked else 1.0
    trust = np.full(N // 2, share / (share + 1))  # of the whole map, with noise of 1
    return inside, (first * kept, second * kept), trust


@pytest.mark.parametrize("masked", [False, True])
def test_noise_outside_the_molecule_is_no_concern(masked: bool) -> None:
    """Signal over noise where the molecule is, whatever of the noise a mask has left."""
    inside, halves, trust = half_maps(masked)
    found = by_half_maps(trust, halves, inside, EXTENT, 700)
    assert found is not None and found.measured and found.particles == 700
    np.testing.assert_allclose(found.ratio[2:], 1.0, rtol=0.05)
    assert not found.ratio[:2].any()


def test_unknown_number_is_that_of_usual_images() -> None:
    """The information of all images, Σ SNR over their pixels, is that of the molecule, Σ S over its numbers."""
    inside, halves, trust = half_maps(masked=False)
    found = by_half_maps(trust, halves, inside, EXTENT, None)
    assert found is not None and "--particles would tell" in found.source
    numbers = EXTENT.volume * 4 / 3 * np.pi * (N // 2 - 1) ** 3 / BOX**3
    assert found.particles == pytest.approx(numbers / (USUAL_RATIO * N**2), rel=0.05)


def test_half_maps_without_noise_tell_nothing() -> None:
    inside, halves, trust = half_maps(masked=False)
    assert by_half_maps(trust, (halves[0], halves[0]), inside, EXTENT, 700) is None
    sure = by_half_maps(np.ones(N // 2), halves, inside, EXTENT, 700)
    assert sure is not None and np.isfinite(sure.ratio).all()


def test_sections_hold_what_the_molecule_is_told_by() -> None:
    """Σ signal ÷ noise over the pixels of all images is Σ S over the molecule's numbers, in whatever box."""
    signal = np.r_[0, 0, 1 / np.arange(2, N // 2)]
    for width in (BOX, 1.5 * BOX):
        found = by_images(signal, EXTENT, 50, width)
        middle = (np.arange(N // 2) - 0.5) / BOX
        pixels = 2 * np.pi * middle / BOX * width**2
        held = np.sum(EXTENT.numbers(N // 2) * found.ratio)
        assert held == pytest.approx(50 * np.sum(pixels * signal), rel=0.01)
        assert found.measured


def test_usual_images() -> None:
    """They have the ratio that is said, weak where the CTF is, and are as many as are known or 10,000."""
    power = np.exp(-0.1 * np.arange(N // 2))
    found = by_usual_images(power, EXTENT, None)
    assert found.particles == USUAL_COUNT and not found.measured
    of_all = np.sum(EXTENT.numbers(N // 2) * found.ratio)
    assert of_all == pytest.approx(USUAL_COUNT * USUAL_RATIO * N**2, rel=0.1)
    few = by_usual_images(power, EXTENT, 100)
    np.testing.assert_allclose(few.ratio, found.ratio * 100 / USUAL_COUNT)
    seen = found.ratio[2:] / power[2:] / EXTENT.shown(N // 2)[2:]
    assert seen[0] < 0.5 * seen.max(), "a tenth of the contrast is of amplitudes"
