"""A starting mixture from a map."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.models.gmm.start import fit
from libhetero.models.gmm.start.fit import (
    SEARCH_STEPS,
    WORTH,
    MapToFit,
    fit_mixture,
    grow_mixture,
    place_gaussians,
    sizes,
)
from libhetero.models.gmm.start.independent_changes import ParticleInformation
from libhetero.models.gmm.start.map_support import molecule_mask, reliability
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.physics.symmetry import in_unit, symmetric_copies, symmetry_operators
from libhetero.records import Gaussians
from tests.making.images import BOX, PIXEL
from tests.making.mixtures import mixture

to_volume = jax.jit(lambda g: gaussians_to_volume(g, BOX, PIXEL))


def goal_of(volume: np.ndarray, symmetry: str = "c1") -> MapToFit:
    inside = molecule_mask(volume, PIXEL)
    trust = reliability(volume, inside)
    return MapToFit(volume, PIXEL, inside, trust, symmetry_operators(symmetry))


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """The map of the known mixture, times 2."""
    return 2 * np.asarray(to_volume(mixture()))


@pytest.fixture(scope="module")
def fitted(volume):
    """Twenty-four Gaussians for the twenty, and what was told on the way."""
    goal, steps = goal_of(volume - volume.mean()), []  # a backprojection may have no mean
    start = place_gaussians(goal, 24, seed=0)
    return fit_mixture(goal, start, 120, lambda step, value: steps.append((step, value))), steps


def test_map_of_known_gaussians_is_fitted(volume, fitted):
    found, steps = fitted
    assert found.correlation >= 0.99 and found.explained > 0.97
    assert steps[-1][0] == 120 and steps[-1][1] < 0.5 * steps[0][1] < 0.1
    assert found.fsc.shape == (BOX // 2,) and found.fsc[:5].min() > 0.95
    made = np.asarray(to_volume(found.gaussians))
    centred = made - made.mean()
    assert np.vdot(centred, volume) == pytest.approx(np.vdot(centred, centred), rel=1e-3)
    assert found.gaussians.sigma.min() >= PIXEL / 3
    total = 2 * mixture().amplitude.sum()
    assert found.gaussians.amplitude.sum() == pytest.approx(total, rel=0.1)


def test_projections_weigh_low_frequencies_more(volume, fitted):
    """The weights of all views together are those of central slices, 1 / |k|."""
    goal = goal_of(volume)
    found = fit_mixture(goal, fitted[0].gaussians, 40, views=True)
    assert found.correlation >= fitted[0].correlation - 1e-3
    poor = place_gaussians(goal, 6, seed=0)
    by_map, by_views = (fit_mixture(goal, poor, 60, views=views) for views in (False, True))
    assert by_views.fsc[1:4].mean() >= by_map.fsc[1:4].mean() - 1e-3
    assert by_views.correlation > by_map.correlation


def test_gaussians_are_placed_in_the_density(volume):
    goal = goal_of(volume)
    placed = place_gaussians(goal, 24, seed=0)
    place = np.rint(placed.position / PIXEL).astype(int) + BOX // 2
    assert goal.inside[place[:, 2], place[:, 1], place[:, 0]].mean() > 0.9
    assert (placed.amplitude > 0).all()
    again = place_gaussians(goal, 24, seed=0)
    np.testing.assert_array_equal(placed.position, again.position)


def test_weak_density_gets_its_share():
    """A piece of a quarter of the density and the same size gets more than a quarter of the Gaussians."""
    volume = np.zeros((BOX, BOX, BOX), np.float32)
    volume[4:12, 4:12, 2:7], volume[4:12, 4:12, 9:14] = 1.0, 0.25
    placed = place_gaussians(goal_of(volume), 60, seed=0)
    weak = (placed.position[:, 0] > 0).mean()
    assert 0.27 < weak < 0.5


def test_width_follows_the_spacing():
    widths = []
    for n in (32, 64):
        inside = np.ones((n, n, n), bool)
        goal = MapToFit(np.ones((n, n, n), np.float32), 1.0, inside, np.ones(n // 2))
        widths.append(place_gaussians(goal, 8, seed=0).sigma[0] / n)
    assert widths == pytest.approx([0.25, 0.25], rel=1e-5)


def test_the_number_grows_until_no_more_is_explained(volume):
    goal, told = goal_of(volume), []
    found = grow_mixture(goal, 0, lambda count, one: told.append((count, one.explained)))
    counts, explained = zip(*told, strict=True)
    assert list(counts) == list(sizes(goal))[: len(counts)]
    gains = np.diff(explained)
    assert (gains[:-1] >= WORTH).all(), "it went on only while there was something to gain"
    kept = counts.index(len(found.gaussians.sigma))
    assert kept == len(counts) - 1 or (kept == len(counts) - 2 and gains[-1] < WORTH)
    assert SEARCH_STEPS < 200


def test_sizes_follow_detail_and_units(volume):
    goal = goal_of(volume)
    counts = list(sizes(goal))
    assert counts[0] >= 64 and counts[-1] <= goal.inside.sum() // 2
    ratios = np.divide(counts[1:], counts[:-1])
    assert np.all((ratios > 1.25) & (ratios < 2.05))
    four = dataclasses.replace(goal, operators=symmetry_operators("c4"))
    assert list(sizes(four))[0] < counts[0]
    large = MapToFit(np.zeros((4,) * 3), 1.0, np.ones((64,) * 3, bool), np.ones(32))
    assert list(sizes(large))[-1] == 4096


def test_no_more_than_the_particles_can_tell(volume, monkeypatch):
    """Of this molecule three shells are told for certain, or nothing; unknown is no limit, and 64 the least taken."""
    monkeypatch.setattr(fit, "ENOUGH", 64)
    goal = goal_of(volume)
    assert goal.changes() == float("inf")
    every = list(sizes(goal))
    ratio = np.zeros(BOX // 2)
    assert list(sizes(dataclasses.replace(goal, information=ParticleInformation(ratio, 100.0)))) == [64]
    ratio[2:6] = 1e6
    told = dataclasses.replace(goal, information=ParticleInformation(ratio, 100.0))
    numbers = np.count_nonzero(goal.inside) / BOX**3 * 4 / 3 * np.pi * (5**3 - 1)
    assert told.changes() == pytest.approx(numbers, rel=1e-3)
    assert list(sizes(told))[-1] == min(max(int(told.changes()), 64), every[-1])


def test_one_unit_makes_the_whole():
    """Twelve Gaussians of a c3 complex, found again from its map as one unit in the right place."""
    operators = symmetry_operators("c3")
    unit = jax.tree.map(lambda leaf: leaf[:8], mixture())
    volume = np.asarray(jax.jit(lambda g: gaussians_to_volume(symmetric_copies(g, operators), BOX, PIXEL))(unit))
    goal = goal_of(volume, "c3")
    start = place_gaussians(goal, 12, seed=0)
    assert in_unit(start.position, operators).mean() > 0.9
    found = fit_mixture(goal, start, 120)
    assert len(found.gaussians.sigma) == 12 and found.correlation > 0.98
    assert 3 * found.gaussians.amplitude.sum() == pytest.approx(3 * unit.amplitude.sum(), rel=0.1)


def test_too_few_voxels(volume):
    goal = dataclasses.replace(goal_of(volume), inside=volume > 0.95 * volume.max())
    with pytest.raises(DataError, match=r"voxels of molecule; .* Lower --threshold or --ngauss"):
        place_gaussians(goal, 50, seed=0)


def test_inverted_map(volume):
    goal = goal_of(volume)
    start = place_gaussians(goal, 8, seed=0)
    with pytest.raises(ConfigurationError, match="do not overlap the map"):
        fit_mixture(dataclasses.replace(goal, volume=-volume), start, 2)


def test_start_from_any_mixture_near_the_map(volume):
    near = Gaussians(mixture().position + 1, 0.3 * mixture().amplitude, 1.1 * mixture().sigma)
    assert fit_mixture(goal_of(volume), near, 60).correlation > 0.99
