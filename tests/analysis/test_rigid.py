"""Rigid motions of pieces."""

import jax
import numpy as np
import pytest

from libhetero.analysis.rigid import RigidMotions, rigid_motions
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import axis_angle_to_matrix
from tests.making.mixtures import gaussians, mixture
from tests.making.poses import poses

COUNT = 40


def motions(spread=0.6):
    """Rotations of half a radian or so, and shifts."""
    random = np.random.default_rng(5)
    axis, angle = random.normal(size=(COUNT, 3)), random.normal(0, spread, COUNT)
    rotation = np.asarray(axis_angle_to_matrix(axis, angle), np.float64)
    return RigidMotions(rotation, random.normal(0, 4, (COUNT, 3))), axis, angle


def test_a_rigid_motion_is_found_and_what_has_no_weight_says_nothing():
    true, _, _ = motions()
    random = np.random.default_rng(0)
    rest, weight = random.normal(0, 12, (30, 3)), random.uniform(0.1, 3, 30)
    gone = np.einsum("pcd,jd->pjc", true.rotation, rest) + true.shift[:, None]
    gone[:, -3:] += 50.0
    weight[-3:] = 0
    found = rigid_motions(rest, gone, weight)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-6)
    np.testing.assert_allclose(found.shift, true.shift, atol=1e-5)


def test_noise_is_averaged_over_points_by_their_weights():
    true, _, _ = motions()
    random = np.random.default_rng(1)
    rest = random.normal(0, 12, (200, 3))
    gone = np.einsum("pcd,jd->pjc", true.rotation, rest) + true.shift[:, None]
    noise = np.where(np.arange(200) < 100, 0.2, 5.0)
    gone += random.normal(size=gone.shape) * noise[:, None]
    errors = []
    for weight in (1 / noise**2, np.ones(200)):
        found = rigid_motions(rest, gone, weight)
        relative = RigidMotions(np.swapaxes(true.rotation, 1, 2) @ found.rotation, found.shift)
        errors.append(np.sqrt(np.mean(relative.angles() ** 2)))
    assert errors[0] < 0.005 < errors[1]


def test_a_piece_in_a_plane_is_turned_and_not_mirrored():
    true, _, _ = motions()
    rest = np.random.default_rng(2).normal(0, 12, (30, 3)) * [1, 1, 0]
    gone = np.einsum("pcd,jd->pjc", true.rotation, rest) + true.shift[:, None]
    found = rigid_motions(rest, gone, np.ones(30))
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1, atol=1e-6)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-5)


def test_rotation_vectors_and_moved_points():
    true, axis, angle = motions()
    expected = axis / np.linalg.norm(axis, axis=1, keepdims=True) * angle[:, None]
    np.testing.assert_allclose(true.rotation_vectors(), expected, atol=1e-5)
    np.testing.assert_allclose(true.angles(), np.abs(angle), atol=1e-5)
    still = RigidMotions(np.eye(3)[None], np.zeros((1, 3)))
    assert still.rotation_vectors() == pytest.approx(0) and still.moved(np.array([3.0, 2.0, 1.0])) == pytest.approx(0)
    point = np.array([4.0, -2.0, 7.0])
    np.testing.assert_allclose(true.moved(point)[3], true.rotation[3] @ point + true.shift[3] - point)


def test_the_main_motion_is_the_one_that_there_is():
    """A piece that turns about an axis by an angle drawn from N(0, 0.1): points go across it, by their distance."""
    axis, angle = np.array([0.0, 0.0, 1.0]), np.random.default_rng(6).normal(0, 0.1, 2000)
    turning = RigidMotions(np.asarray(axis_angle_to_matrix(np.tile(axis, (2000, 1)), angle)), np.zeros((2000, 3)))
    found = turning.main_motion(np.array([[20.0, 0, 5], [0, 10, 0], [0, 0, 30]]))
    found *= np.sign(found[0, 1])
    np.testing.assert_allclose(found, [[0, 2, 0], [-1, 0, 0], [0, 0, 0]], atol=0.15)


def test_at_its_own_pose_a_piece_is_seen_as_it_is_in_the_particle():
    """The image of the piece that has moved, at the molecule's pose, is that of the piece at rest, at its own."""
    true, _, _ = motions()
    piece, pose = mixture(12, spread=10), poses(COUNT)
    own = true.pose_of_piece(pose)
    render = jax.jit(lambda mixture, pose: project_gaussians(mixture, pose, 24, 4.0))
    for i in range(4):
        gone = gaussians(piece.position @ true.rotation[i].T + true.shift[i], piece.amplitude, piece.sigma)
        expected = np.asarray(render(gone, pose.take(i)))
        np.testing.assert_allclose(render(piece, own.take(i)), expected, atol=1e-3 * np.abs(expected).max())
    stretched = np.diag([1.1, 0.9, 1.0]).astype(np.float32) @ pose.rotation
    expected = pose.shift + (stretched @ true.shift[..., None])[:, :2, 0]
    np.testing.assert_allclose(true.pose_of_piece(pose, stretched).shift, expected, atol=1e-5)
