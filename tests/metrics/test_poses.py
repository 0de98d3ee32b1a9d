"""How far poses are from the right ones."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.metrics.poses import MIRROR, common_frame, nearest_poses, pose_errors
from libhetero.physics.symmetry import symmetry_operators
from libhetero.records import Pose


def test_errors_are_turns_about_the_axes_of_the_image_and_shifts():
    random = np.random.default_rng(0)
    right, turn = Rotation.random(20, random_state=1), random.normal(0, 0.1, (20, 3))
    shift, off = random.normal(size=(20, 2)), random.normal(size=(20, 2))
    pose = Pose(rotation=(Rotation.from_rotvec(turn) * right).as_matrix(), shift=shift + off)
    found = pose_errors(pose, right.as_matrix(), shift)
    np.testing.assert_allclose(found[0], turn, atol=1e-7)
    np.testing.assert_allclose(found[1], off, atol=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_turns_all_poses_together_is_told_from_what_each_is_off_by(mirrored):
    """A map turned, moved and mirrored as a whole; a third of the particles are anywhere."""
    random, count = np.random.default_rng(2), 150
    right = Pose(rotation=Rotation.random(count, random_state=3).as_matrix(), shift=random.normal(0, 9, (count, 2)))
    whole, centre = Rotation.random(random_state=4).as_matrix(), np.array([3.0, -5.0, 8.0])
    seen = (MIRROR @ right.rotation @ MIRROR if mirrored else right.rotation) @ whole
    off = Rotation.from_rotvec(random.normal(0, 0.01, (count, 3))).as_matrix() @ seen
    off[::3] = Rotation.random(50, random_state=5).as_matrix()
    found = Pose(rotation=off, shift=right.shift + (seen @ centre)[:, :2] + random.normal(0, 0.1, (count, 2)))
    frame = common_frame(found, right)
    assert frame.mirrored == mirrored
    assert np.degrees(Rotation.from_matrix(frame.turn @ whole.T).magnitude()) < 0.5
    np.testing.assert_allclose(frame.centre, centre, atol=0.2)
    placed = frame.of(right)
    turn, shift = pose_errors(found, placed.rotation, placed.shift)
    assert np.median(np.linalg.norm(turn, axis=1)) < 0.025 and np.median(np.linalg.norm(shift, axis=1)) < 0.3


@pytest.mark.parametrize("mirrored", [False, True])
def test_of_poses_that_give_the_same_image_the_nearest_counts(mirrored):
    """In the frame of the right ones, and where a map was found from nothing; the turn is then the least there is."""
    random, count, operators = np.random.default_rng(6), 120, symmetry_operators("d3").astype(float)
    right = Pose(rotation=Rotation.random(count, random_state=7).as_matrix(), shift=random.normal(0, 9, (count, 2)))
    equal = right.rotation @ operators[random.integers(len(operators), size=count)]
    off = random.normal(0, 0.01, (count, 3))
    found = Pose(rotation=Rotation.from_rotvec(off).as_matrix() @ equal, shift=right.shift)
    nearest = nearest_poses(found, right, operators)
    np.testing.assert_allclose(pose_errors(found, nearest.rotation, nearest.shift)[0], off, atol=1e-6)
    assert np.degrees(common_frame(found, right, operators).angle) < 1
    whole, centre = Rotation.from_rotvec([0.2, 0.1, 0.2]).as_matrix(), np.array([0.0, 4.0, 7.0])
    seen = (MIRROR @ equal @ MIRROR if mirrored else equal) @ whole
    found = Pose(rotation=Rotation.from_rotvec(off).as_matrix() @ seen, shift=right.shift + (seen @ centre)[:, :2])
    frame = common_frame(found, right, operators)
    assert frame.mirrored == mirrored and np.degrees(frame.angle) < 18
    placed = frame.of(nearest_poses(found, right, operators, frame))
    turn, shift = pose_errors(found, placed.rotation, placed.shift)
    assert np.median(np.linalg.norm(turn, axis=1)) < 0.025 and np.abs(shift).max() < 0.3
