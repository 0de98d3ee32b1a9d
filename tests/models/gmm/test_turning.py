"""Modes of motion that turn."""

import jax.numpy as jnp
import numpy as np

from libhetero.models.gmm.changes import nearest_pairs
from libhetero.models.gmm.turning import rotations_of, turned
from libhetero.physics.rotations import axis_angle_to_matrix
from tests.making.mixtures import mixture

POSITION = np.asarray(mixture(60, spread=20.0).position)
EDGES = nearest_pairs(POSITION)


def test_a_rigid_piece_turns_as_it_should_however_far():
    """Two modes, each a rotation about a point of its own; a screw, since the axis is also pushed along."""
    hinge, axis = np.array([30.0, -5, 10]), np.array([0.6, 0, 0.8])
    slide = 12.0 * axis
    modes = np.stack([np.cross(axis, POSITION - hinge) + slide, np.zeros_like(POSITION)], axis=2)
    rotation = rotations_of(POSITION, EDGES, modes.astype(np.float32))
    np.testing.assert_allclose(rotation[:, :, 0], np.broadcast_to(axis, POSITION.shape), rtol=0.03, atol=0.02)
    exact = np.broadcast_to(axis[:, None] * [1.0, 0.0], rotation.shape)
    for angle in (1e-3, 0.05, 0.2, 1.3):
        matrix = np.asarray(axis_angle_to_matrix(jnp.asarray(axis), jnp.asarray(angle)))
        wanted = (POSITION - hinge) @ matrix.T - (POSITION - hinge) + angle * slide
        found = turned(modes, exact, jnp.array([angle, 7.0]))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_displaced_or_stays_goes_straight():
    modes = np.broadcast_to(np.array([3.0, -1, 2])[:, None], (60, 3, 1)).astype(np.float32)
    rotation = rotations_of(POSITION, EDGES, modes)
    np.testing.assert_allclose(rotation, 0, atol=1e-5)
    np.testing.assert_allclose(turned(modes, rotation, jnp.array([2.0])), 2 * modes[:, :, 0], rtol=1e-5)


def test_what_neighbours_say_of_a_turn_is_the_least_squares_answer():
    """Against NumPy, for modes that fit no rotation, without the ridge's two hundredths."""
    modes = np.random.default_rng(3).normal(size=(60, 3, 1)).astype(np.float32)
    found = np.asarray(rotations_of(POSITION, EDGES, modes))[:, :, 0]
    for point in (0, 17, 59):
        rows = EDGES[(point == EDGES).any(axis=1)]
        other = np.where(rows[:, 0] == point, rows[:, 1], rows[:, 0])
        across = POSITION[other] - POSITION[point]
        length = np.linalg.norm(across, axis=1)
        cross = np.stack([np.cross(unit, across) for unit in np.eye(3)], axis=2) / length[:, None, None]
        said = (modes[other, :, 0] - modes[point, :, 0]) / length[:, None]
        wanted = np.linalg.lstsq(cross.reshape(-1, 3), said.ravel(), rcond=None)[0]
        np.testing.assert_allclose(found[point], wanted, rtol=0.1, atol=0.02 * np.abs(wanted).max())
