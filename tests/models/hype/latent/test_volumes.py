"""Sums of classes, and the volumes that they stand for."""

from dataclasses import replace

import numpy as np
import pytest

from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.volumes import class_volumes, signal_power, solved, sums_of
from tests.making.slices import molecules, points_of, slices, transform

GRID = FourierGrid(5, 1.5, 0.4)
LABEL = np.arange(160) % 2


@pytest.fixture(scope="module")
def shown():
    return molecules(2)


@pytest.fixture(scope="module")
def seen(shown):
    return on_grid(slices(LABEL, shown, ring=5, strength=3.0), GRID)


def test_sums_are_those_of_every_pixel_and_leave_out_particles_in_no_class(seen):
    label = np.where(np.arange(160) < 20, LABEL, -1)
    sums = sums_of(seen, label, 3)
    numerator, weight = np.zeros((3, 2, GRID.size), complex), np.zeros((3, 2, GRID.size))
    point, image, transfer = (np.asarray(part) for part in (seen.point, seen.image, seen.transfer))
    for place in range(20):
        np.add.at(numerator[label[place], seen.half[place]], point[place], transfer[place] * image[place])
        np.add.at(weight[label[place], seen.half[place]], point[place], transfer[place] ** 2)
    np.testing.assert_allclose(sums.numerator, numerator, atol=1e-3)
    np.testing.assert_allclose(sums.weight, weight, atol=1e-3)
    both = sums.of_pairs(np.array([0]), np.array([1]))
    np.testing.assert_allclose(both.weight[0], weight[0] + weight[1], atol=1e-3)
    np.testing.assert_allclose(sums.whole().numerator[:, 0], numerator.sum(axis=1), atol=1e-3)


def test_volumes_are_those_of_the_molecules(seen, shown):
    found = class_volumes(seen, LABEL, 2)
    inside = (GRID.radius > 0.5) & (GRID.radius < 4.5)
    truth = np.stack([transform([part[one] for part in shown], points_of(GRID)[inside]) for one in range(2)])
    correlation = np.abs(np.corrcoef(np.concatenate([found[:, inside], truth])))
    assert correlation[0, 2] > 0.9 and correlation[1, 3] > 0.9
    assert correlation[0, 2] > correlation[0, 3] + 0.2 and correlation[1, 3] > correlation[1, 2] + 0.2


def test_signal_is_told_from_noise_by_the_half_sets(seen, shown):
    nothing = on_grid(slices(np.full(160, -1), shown, ring=5), GRID)
    powers = [signal_power(sums_of(one, LABEL, 2), GRID) for one in (seen, nothing)]
    near = (GRID.radius > 0.5) & (GRID.radius < 1.5)
    assert powers[0][near].mean() > 20 * powers[1][near].mean()


def test_volumes_do_not_depend_on_how_many_are_solved_together(seen):
    sums = sums_of(seen, np.arange(160) % 40, 40)
    signal = signal_power(sums, GRID)
    np.testing.assert_allclose(
        solved(sums, GRID, signal)[37], solved(sums.take(slice(37, 38)), GRID, signal)[0], atol=1e-4
    )


def test_half_sets_that_are_given_are_those_that_are_summed_also_of_some_of_the_particles(seen):
    half = (np.arange(160) // 4) % 2
    told = replace(seen, given_half=half)
    sums = sums_of(told.scaled(np.ones(160)), LABEL, 2)
    point, transfer = np.asarray(seen.point), np.asarray(seen.transfer)
    weight = np.zeros((2, 2, GRID.size))
    np.add.at(weight, (LABEL[:, None], half[:, None], point), transfer**2)
    np.testing.assert_allclose(sums.weight, weight, atol=1e-3)
    np.testing.assert_array_equal(told.take(np.arange(5, 11)).half, half[5:11])
