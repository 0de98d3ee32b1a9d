"""How far poses are from the right ones."""

import numpy as np
from scipy.spatial.transform import Rotation

from libhetero.metrics.poses import pose_errors
from libhetero.records import Pose


def test_errors_are_turns_about_the_axes_of_the_image_and_shifts():
    random = np.random.default_rng(0)
    right, turn = Rotation.random(20, random_state=1), random.normal(0, 0.1, (20, 3))
    shift, off = random.normal(size=(20, 2)), random.normal(size=(20, 2))
    pose = Pose(rotation=(Rotation.from_rotvec(turn) * right).as_matrix(), shift=shift + off)
    found = pose_errors(pose, right.as_matrix(), shift)
    np.testing.assert_allclose(found[0], turn, atol=1e-7)
    np.testing.assert_allclose(found[1], off, atol=1e-12)
