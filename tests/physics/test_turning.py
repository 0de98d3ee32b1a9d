"""A turned map is the map of what is turned."""

import numpy as np
import pytest

from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.physics.turning import prepare_turning, turned_volume
from libhetero.simulate.bodies import map_of_gaussians
from tests.making.mixtures import gaussians, mixture

BOX, PIXEL = 24, 4.0


@pytest.mark.parametrize("angle, error", [(0.0, 2e-3), (0.4, 5e-3), (2.5, 5e-3)])
def test_a_turned_map_is_the_map_of_turned_gaussians(angle: float, error: float) -> None:
    there = mixture(12, spread=7.0, amplitude=(0.5, 2.0), sigma=6.0)
    hinge, axis = np.array([4.0, -6.0, 9.0], np.float32), np.array([0.6, 0.0, 0.8], np.float32)
    rotation = np.asarray(axis_angle_to_matrix(axis, np.asarray(angle, np.float32)))
    prepared = prepare_turning(map_of_gaussians(there, BOX, PIXEL))
    found = turned_volume(prepared, rotation, hinge, PIXEL)
    moved = gaussians((there.position - hinge) @ rotation.T + hinge, there.amplitude, there.sigma)
    expected = map_of_gaussians(moved, BOX, PIXEL)
    assert found.shape == (BOX,) * 3 and found.dtype == np.float32
    assert np.linalg.norm(found - expected) < error * np.linalg.norm(expected)


def test_frequencies_that_no_image_holds_are_left_out() -> None:
    """The corner of the cube of frequencies is brought inside by no turn."""
    z, y, x = np.indices((8, 8, 8)) - 4
    corner = np.cos(np.pi * 0.75 * x) * np.cos(np.pi * 0.75 * y) * np.cos(np.pi * 0.75 * z)
    assert np.abs(turned_volume(prepare_turning(corner), np.eye(3), np.zeros(3), 1.0)).max() < 1e-5
