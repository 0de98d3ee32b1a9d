"""What errors of contrast and poses make of a volume: against the transform of blobs that are shifted and turned."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.nuisances import CONTRAST, COUNT, SHIFT, TURN, nuisance_modes
from tests.making.slices import molecules, points_of, transform

GRID = FourierGrid(5.0, 1.5, 0.45)
POINTS = points_of(GRID)
INSIDE = (np.linalg.norm(POINTS, axis=1) <= 4) & (np.linalg.norm(POINTS, axis=1) > 0)
SMALL = 1e-3


@pytest.fixture(scope="module")
def blobs():
    position, amplitude = (part[0] for part in molecules(1, seed=4))
    return position, amplitude


@pytest.fixture(scope="module")
def modes(blobs):
    return nuisance_modes(transform(blobs, POINTS).astype(np.complex64)[None], GRID)[0]


@pytest.mark.parametrize("axis", range(3))
def test_shifts(blobs, modes, axis):
    moved = blobs[0] + SMALL * np.eye(3)[axis], blobs[1]
    change = (transform(moved, POINTS) - transform(blobs, POINTS)) / SMALL
    error = np.linalg.norm((modes[:, 1 + axis] / SHIFT - change)[INSIDE]) / np.linalg.norm(change[INSIDE])
    assert error < 0.03


@pytest.mark.parametrize("axis", range(3))
def test_turns(blobs, modes, axis):
    turn = Rotation.from_rotvec(SMALL * np.eye(3)[axis])
    change = (transform((turn.apply(blobs[0]), blobs[1]), POINTS) - transform(blobs, POINTS)) / SMALL
    error = np.linalg.norm((modes[:, 4 + axis] / TURN - change)[INSIDE]) / np.linalg.norm(change[INSIDE])
    assert error < 0.15  # the density of a grid that ends has ripples, which the turn moves far from the origin


def test_one_each_of_several_volumes(blobs, modes):
    one = transform(blobs, POINTS).astype(np.complex64)
    both = nuisance_modes(np.stack([one, 2 * one]), GRID)
    assert both.shape == (2, GRID.size, COUNT)
    np.testing.assert_allclose(both[0, :, 0], CONTRAST * one, rtol=1e-5)
    np.testing.assert_allclose(both[0], modes, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both[1], 2 * modes, rtol=1e-4, atol=1e-4)
