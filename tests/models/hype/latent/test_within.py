"""Changes within classes: found where there is one, with each image's part in it, and nowhere else."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent import within
from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid
from libhetero.models.hype.latent.residuals import Residuals
from libhetero.models.hype.latent.volumes import class_volumes, signal_power, sums_of
from libhetero.models.hype.latent.within import changes_within, tables_of, weights_within
from tests.making.slices import molecules, points_of, slices, transform

RING, BALL, EACH = 6.0, 0.4, 220
STRENGTH = 0.7  # of the signal: a slice shows its molecule with a few tens of nats
GRID = FourierGrid(RING, 1.5, BALL)


@pytest.fixture(scope="module")
def changing():
    """Slices of three classes, the part that each image of class 1 has in the one change, and the change."""
    label = np.repeat([0, 1, 2], EACH)
    made = slices(label, molecules(3), RING, strength=STRENGTH)
    weight = np.where(label == 1, np.random.default_rng(5).normal(size=len(label)), 0)
    (position, amplitude), sign = (part[0] for part in molecules(1, seed=9)), np.repeat([1, -1], 6)
    mode = position, 0.7 * amplitude * sign
    for place in np.flatnonzero(label == 1):
        points = made.frequencies @ made.rotation[place, :2]
        made.image[place] += (weight[place] * made.transfer[place] * transform(mode, points)).astype(np.complex64)
    return on_grid(made, GRID), label, weight, transform(mode, points_of(GRID))


def test_the_class_that_changes_is_found_and_its_modes_hold_the_change(changing):
    seen, label, weight, mode = changing
    found = changes_within(seen, label, 3, 9, seed=0)
    assert list(found.number) == [1] and found.gain[0] > 0.2, found.gain
    inside = (GRID.radius <= RING) & (GRID.radius > 0)
    columns = np.concatenate([found.modes[0][inside].real, found.modes[0][inside].imag])
    wanted = np.concatenate([mode[inside].real, mode[inside].imag])
    explained = columns @ np.linalg.lstsq(columns, wanted, rcond=None)[0]
    assert np.corrcoef(explained, wanted)[0, 1] > 0.9
    told = weights_of(seen, found, label == 1)
    fit = np.linalg.lstsq(told, weight[label == 1], rcond=None)[0]
    assert np.corrcoef(told @ fit, weight[label == 1])[0, 1] > 0.8


def weights_of(seen, found, chosen, spread=0.05):
    table, rows = tables_of(found.volume, found.modes), np.flatnonzero(chosen)
    one = jax.jit(lambda point, image, transfer: weights_within(point, image, transfer, table, spread))
    return np.stack([np.asarray(one(seen.point[row], seen.image[row], seen.transfer[row]))[0] for row in rows])


def test_the_weights_of_an_image_are_those_of_least_squares_with_their_prior(changing):
    """Against a matrix of real and imaginary parts, the contrast solved for by itself first."""
    seen, label, *_ = changing
    found = changes_within(seen, label, 3, 9, seed=0)
    row, spread = EACH + 7, 0.2
    told = weights_of(seen, found, np.arange(len(label)) == row, spread)[0]
    point, image, passed = (np.asarray(part[row]) for part in (seen.point, seen.image, seen.transfer))

    def real(values):
        return np.sqrt(2) * np.concatenate([values.real, values.imag]).astype(np.float64)

    volume, data = real(passed * found.volume[0][point]), real(image)
    contrast = (volume @ data + spread**-2) / (volume @ volume + spread**-2)
    columns = np.stack([contrast * real(passed * found.modes[0][point, one]) for one in range(within.RANK)], axis=1)
    left = data - contrast * volume
    solved = np.linalg.solve(columns.T @ columns + np.eye(within.RANK), columns.T @ left)
    np.testing.assert_allclose(told, solved, rtol=2e-3, atol=2e-4)


def test_classes_that_do_not_change_and_small_ones_have_no_modes(changing):
    seen, label, *_ = changing
    assert len(changes_within(seen, np.where(label == 1, -1, label), 3, 9, seed=1)) == 0
    few = np.flatnonzero(label == 1)[: within.LEAST_IMAGES - 1]
    some = seen.take(few)
    assert len(changes_within(some, np.zeros(len(few), np.int64), 1, 9, seed=0)) == 0


def test_classes_are_worked_on_a_few_at_a_time_with_the_same_outcome(changing, monkeypatch):
    seen, label, *_ = changing
    whole = changes_within(seen, label, 3, 9, seed=0)
    monkeypatch.setattr(within, "MOST_POINTS", GRID.size)
    apart = changes_within(seen, label, 3, 9, seed=0)
    np.testing.assert_array_equal(whole.number, apart.number)
    np.testing.assert_allclose(apart.gain, whole.gain, rtol=1e-3)


def test_a_contrast_that_varies_is_no_change():
    label = np.zeros(2 * EACH, np.int64)
    contrast = 1 + 0.3 * np.random.default_rng(0).normal(size=len(label))
    made = slices(label, molecules(1), RING, strength=STRENGTH, contrast=contrast)
    seen = on_grid(made, GRID)
    assert gain_over_limit(seen, label) > 1, "contrast would be a change"
    assert len(changes_within(seen, label, 1, 9, seed=0)) == 0
    known = OnGrid(GRID, seen.point, seen.image, seen.transfer).scaled(contrast)
    assert len(changes_within(known, label, 1, 9, seed=0)) == 0


def gain_over_limit(seen, label):
    """Return what modes gain where nothing else may be off, over what a class must gain."""
    images = Residuals.of_classes(seen, label, np.arange(1), class_volumes(seen, label, 1))
    made, other = images.chosen(seen.half == 0), images.chosen(seen.half == 1)
    signal = signal_power(sums_of(seen, label, 1), GRID)
    return other.gains(made.modes(signal, 0)).mean(axis=1).max() / (within.LEAST_PART * images.shown[0])


def test_errors_of_poses_and_contrast_are_no_change():
    """Listed poses are off by 3 degrees and a hundredth of the box."""
    label = np.zeros(3 * EACH, int)
    made = slices(label, molecules(1), RING, strength=2 * STRENGTH)
    random = np.random.default_rng(8)
    shift = 0.01 * random.normal(size=(len(label), 2))
    made.image[:] *= np.exp(2j * np.pi * shift @ made.frequencies.T)
    turn = Rotation.from_rotvec(np.radians(3) * random.normal(size=(len(label), 3)))
    off = replace(made, rotation=(turn.as_matrix() @ made.rotation).astype(np.float32))
    seen = on_grid(off, GRID)
    assert len(changes_within(seen, label, 1, 9, seed=0)) == 0
    assert gain_over_limit(seen, label) > 1, "it would be a change"
