"""Rigid motion of a piece: the rotation and the shift that take its points at rest nearest to where they have gone.

    min over Q, s of Σ_j w_j |Q p_j + s - q_j|²,      Q = U diag(1, 1, det U Vᵀ) Vᵀ,      s = q̄ - Q p̄

with U S Vᵀ the singular values of Σ_j w_j (q_j - q̄)(p_j - p̄)ᵀ, and p̄, q̄ the weighted means.

References
----------
Kabsch, Acta Cryst. A 32 (1976) 922; A 34 (1978) 827.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from libhetero.records import Pose


@dataclass(frozen=True, eq=False)
class RigidMotions:
    """How a piece lies in each particle: x → Q x + s.

    Parameters
    ----------
    rotation : Q.
    shift : s, Å.
    """

    rotation: Float[np.ndarray, "particles 3 3"]
    shift: Float[np.ndarray, "particles 3"]

    def take(self, index: Int[np.ndarray, "chosen"]) -> RigidMotions:
        """Return the motions of the particles at `index`."""
        return RigidMotions(self.rotation[index], self.shift[index])

    def angles(self) -> Float[np.ndarray, "particles"]:
        """Return how far each is turned, radians, 0 to π."""
        return Rotation.from_matrix(self.rotation).magnitude()

    def rotation_vectors(self) -> Float[np.ndarray, "particles 3"]:
        """Return the axis of each turn, right-handed, times its angle in radians; 0 for none."""
        return Rotation.from_matrix(self.rotation).as_rotvec()

    def moved(self, point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "particles 3"]:
        """Return how far a point of the piece goes in each particle, Å."""
        return self.rotation @ point + self.shift - point

    def main_motion(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
        """Return how far points of the piece go for one standard deviation of its main motion, Å.

        That is the first principal component of the displacements of all of them.

        Parameters
        ----------
        points : places in the piece, Å.
        """
        gone = np.einsum("pcd,jd->pjc", self.rotation, points) + self.shift[:, None] - points
        off = (gone - gone.mean(axis=0)).reshape(len(gone), -1)
        _, deviation, direction = np.linalg.svd(off, full_matrices=False)
        return (deviation[0] / np.sqrt(len(gone)) * direction[0]).reshape(-1, 3)

    def pose_of_piece(self, pose: Pose, stretched: Float[np.ndarray, "particles 3 3"] | None = None) -> Pose:
        """Return the poses at which the piece at rest is seen where it is.

        R (Q x + s) + t = (R Q) x + (t + R s): as seen at its own pose, the piece has not moved.

        Parameters
        ----------
        pose : of the molecules.
        stretched : A of `libhetero.physics.observation`, in the place of R for the shift; None where it is R.
        """
        rotation = np.asarray(pose.rotation, np.float64)
        across = (rotation if stretched is None else np.asarray(stretched, np.float64))[:, :2]
        shift = np.asarray(pose.shift, np.float64) + np.einsum("pcd,pd->pc", across, self.shift)
        return Pose(rotation=(rotation @ self.rotation).astype(np.float32), shift=shift.astype(np.float32))


def rigid_motions(
    rest: Float[np.ndarray, "points 3"],
    gone: Float[np.ndarray, "particles points 3"],
    weight: Float[np.ndarray, "points"],
) -> RigidMotions:
    """Return the motion of a piece in each particle, in least squares.

    Parameters
    ----------
    rest, gone : of its points, Å.
    weight : w, 0 or more, above 0 for one at least.
    """
    share = np.asarray(weight, np.float64) / np.sum(weight, dtype=np.float64)
    rest, gone = np.asarray(rest, np.float64), np.asarray(gone, np.float64)
    middle, centre = share @ rest, np.einsum("j,pjc->pc", share, gone)
    covariance = np.einsum("j,pjc,jd->pcd", share, gone - centre[:, None], rest - middle)
    left, _, right = np.linalg.svd(covariance)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    rotation = left @ right
    return RigidMotions(rotation, centre - rotation @ middle)
