"""Modes on all rings by regression on weights: those that made the images, and none where half-sets do not agree."""

import numpy as np
import pytest

from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.mode_volumes import mode_sums, mode_volumes
from tests.making.slices import molecules, points_of, slices, transform

RING, COUNT = 6.0, 300
GRID = FourierGrid(RING, 1.5, 0.4)
NONE = np.zeros((COUNT, 2, 2))  # covariance of weights that are known


@pytest.fixture(scope="module")
def regressed():
    """Slices of two molecules with two modes in common, the weights of each image, and the modes."""
    label = np.arange(COUNT) % 2
    made = slices(label, molecules(2), RING, strength=2.0)
    weights = np.random.default_rng(1).normal(size=(COUNT, 2))
    modes = []
    for seed in (8, 9):
        position, amplitude = (part[0] for part in molecules(1, seed=seed))
        modes.append((position, 0.5 * amplitude * np.repeat([1, -1], 6)))
    for place in range(COUNT):
        points = made.frequencies @ made.rotation[place, :2]
        change = sum(w * transform(mode, points) for w, mode in zip(weights[place], modes, strict=True))
        made.image[place] += (made.transfer[place] * change).astype(np.complex64)
    volumes = np.stack([transform([part[one] for part in molecules(2)], points_of(GRID)) for one in (0, 1)])
    truth = np.stack([transform(mode, points_of(GRID)) for mode in modes], axis=1)
    return on_grid(made, GRID), label, weights, volumes.astype(np.complex64), truth


def test_the_modes_that_made_the_images_are_found(regressed):
    seen, label, weights, volumes, truth = regressed
    found = mode_volumes(mode_sums(seen, label, weights, NONE, volumes, 3.0), GRID, 3.0)
    assert found.shape == (2, GRID.size, 2)
    inside = (GRID.radius <= RING - 1) & (GRID.radius > 0)
    for one in found:
        for mode in range(2):
            a, b = one[inside, mode], truth[inside, mode]
            assert np.vdot(a, b).real / np.linalg.norm(a) / np.linalg.norm(b) > 0.9


def test_blocks_add_up_and_images_of_no_molecule_are_left_out(regressed):
    seen, label, weights, volumes, _ = regressed
    some = np.where(np.arange(COUNT) % 3 == 0, -1, label)
    whole = mode_sums(seen, some, weights, NONE, volumes, RING)
    halves = [np.arange(COUNT) < 130, np.arange(COUNT) >= 130]
    parts = [
        mode_sums(seen.take(np.flatnonzero(half)), some[half], weights[half], NONE[half], volumes, RING)
        for half in halves
    ]
    added, kept = parts[0] + parts[1], np.flatnonzero(some >= 0)
    alone = mode_sums(seen.take(kept), some[kept], weights[kept], NONE[kept], volumes, RING)
    for name in ("numerator", "weight"):
        total, *others = (getattr(sums, name).sum(axis=1) for sums in (whole, added, alone))  # half-sets are drawn anew
        for other in others:
            np.testing.assert_allclose(other, total, atol=1e-5 * np.abs(total).max())


def test_the_sums_are_those_of_a_loop_over_images(regressed):
    seen, label, weights, volumes, _ = regressed
    rows = np.arange(6)
    seen, unsure = seen.take(rows), np.random.default_rng(2).normal(size=(6, 2, 2))
    unsure = unsure @ unsure.swapaxes(1, 2)
    sums = mode_sums(seen, label[:6], weights[:6], unsure, volumes, 3.0)
    numerator, weight = np.zeros((2, 2, 2, GRID.size), np.complex128), np.zeros((2, 2, 3, GRID.size))
    for row in rows:
        point, image, passed = (np.asarray(part[row]) for part in (seen.point, seen.image, seen.transfer))
        left, (first, second) = image - passed * volumes[label[row]][point], weights[row]
        place = label[row], int(seen.half[row])
        for mode, value in enumerate((first, second)):
            np.add.at(numerator[place][mode], point, value * passed * left)
        for pair, (one, two) in enumerate(((0, 0), (0, 1), (1, 1))):
            value = weights[row, one] * weights[row, two] + np.where(GRID.radius[point] <= 3, unsure[row, one, two], 0)
            np.add.at(weight[place][pair], point, value * passed**2)
    np.testing.assert_allclose(sums.numerator, numerator, atol=1e-4 * np.abs(numerator).max())
    np.testing.assert_allclose(sums.weight, weight, atol=1e-5 * np.abs(weight).max())


def test_weights_that_say_nothing_have_no_modes(regressed):
    seen, label, weights, volumes, truth = regressed
    other = np.random.default_rng(5).normal(size=weights.shape)
    found = mode_volumes(mode_sums(seen, label, other, NONE, volumes, 0.0), GRID, 0.0)
    assert np.linalg.norm(found) < 0.25 * np.linalg.norm(np.stack([truth, truth]))
