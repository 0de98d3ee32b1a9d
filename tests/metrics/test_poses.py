"""How far poses are from the right ones."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.metrics.poses import MIRROR, common_frame, pose_errors
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
