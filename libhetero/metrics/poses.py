"""How far poses are from others of the same particles."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from libhetero.records import Pose


def pose_errors(
    pose: Pose, rotation: Float[np.ndarray, "particles 3 3"], shift: Float[np.ndarray, "particles 2"]
) -> tuple[Float[np.ndarray, "particles 3"], Float[np.ndarray, "particles 2"]]:
    """Return what poses are off by: rotation vectors from the right rotations, radians, and shifts, Å."""
    turn = np.asarray(pose.rotation, np.float64) @ np.asarray(rotation, np.float64).transpose(0, 2, 1)
    return Rotation.from_matrix(turn).as_rotvec(), np.asarray(pose.shift, np.float64) - shift
