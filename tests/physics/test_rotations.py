"""Rotations, model to image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import rotations
from tests.reference import rotations as twin

ANGLES = np.random.default_rng(0).uniform(-3, 3, (20, 3))


def test_euler_agrees_with_elementary_matrices():
    for angles in ANGLES:
        expected = twin.from_euler(*angles)
        np.testing.assert_allclose(rotations.euler_to_matrix(jnp.asarray(angles)), expected, atol=1e-6)


def test_eman_and_relion_angles_agree():
    """Rz(phi) Rx(alt) Rz(az) of EMAN2 is (rot, tilt, psi) = (az - 90°, alt, phi + 90°)."""
    az, alt, phi = np.radians([25.0, 60.0, -35.0])
    eman = twin.about_z(phi) @ twin.about_x(alt) @ twin.about_z(az)
    ours = rotations.euler_to_matrix(jnp.array([az - np.pi / 2, alt, phi + np.pi / 2]))
    np.testing.assert_allclose(ours, eman, atol=1e-6)
    np.testing.assert_allclose(ours[0], [0.863606, 0.086270, -0.496732], atol=1e-5)


@pytest.mark.parametrize("tilt", [0.0, 0.7, 2.5, np.pi])
def test_matrix_to_euler_round_trip(tilt):
    angles = np.random.default_rng(1).uniform(-3, 3, (12, 3))
    angles[:, 1] = tilt
    matrix = np.stack([twin.from_euler(*a) for a in angles])
    found = rotations.matrix_to_euler(jnp.asarray(matrix))
    assert np.all((found[:, 1] >= 0) & (found[:, 1] <= np.pi + 1e-6))
    np.testing.assert_allclose(rotations.euler_to_matrix(found), matrix, atol=2e-6)


def test_axis_angle_is_right_handed():
    quarter = rotations.axis_angle_to_matrix(jnp.array([0.0, 0.0, 1.0]), jnp.asarray(np.pi / 2))
    np.testing.assert_allclose(quarter @ jnp.array([1.0, 0.0, 0.0]), [0, 1, 0], atol=1e-6)
    random = np.random.default_rng(2)
    axis, point = random.normal(size=3), random.normal(size=3)
    matrix = rotations.axis_angle_to_matrix(jnp.asarray(axis), jnp.asarray(0.8))
    np.testing.assert_allclose(matrix @ point, twin.turn(axis, 0.8, point), atol=1e-5)


def test_random_rotations_are_proper_and_uniform():
    matrix = np.asarray(rotations.random_rotations(jax.random.key(0), (4000,)))
    identity = np.broadcast_to(np.eye(3), matrix.shape)
    np.testing.assert_allclose(matrix @ matrix.transpose(0, 2, 1), identity, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-5)
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose((matrix**2).mean(axis=0), 1 / 3, atol=0.02)
    trace = np.trace(matrix, axis1=1, axis2=2)
    assert trace.mean() == pytest.approx(0, abs=0.05)
    assert (trace**2).mean() == pytest.approx(1, abs=0.08)


def test_rotate_points_left_multiplies_columns():
    random = np.random.default_rng(3)
    matrix, points = twin.from_euler(0.3, 1.1, -2.0), random.normal(size=(5, 3))
    expected = np.stack([matrix @ p for p in points])
    found = rotations.rotate_points(jnp.asarray(matrix), jnp.asarray(points))
    np.testing.assert_allclose(found, expected, atol=1e-6)
