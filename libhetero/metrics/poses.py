"""How far poses are from others of the same particles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from libhetero.records import Pose

MIRROR = np.diag([1.0, 1.0, -1.0])
TRIED = 100  # particles whose turns are tried for that of all
ALONE = np.eye(3)[None]  # the operators of C1


def pose_errors(
    pose: Pose, rotation: Float[np.ndarray, "particles 3 3"], shift: Float[np.ndarray, "particles 2"]
) -> tuple[Float[np.ndarray, "particles 3"], Float[np.ndarray, "particles 2"]]:
    """Return what poses are off by: rotation vectors from the right rotations, radians, and shifts, Å."""
    turn = np.asarray(pose.rotation, np.float64) @ np.asarray(rotation, np.float64).transpose(0, 2, 1)
    return Rotation.from_matrix(turn).as_rotvec(), np.asarray(pose.shift, np.float64) - shift


@dataclass(frozen=True, eq=False)
class Frame:
    """How all poses together are turned, moved and mirrored: what no image tells of a map that was found from nothing.

    Parameters
    ----------
    turn : Q, where a particle that is right is at R Q, with R its right rotation.
    centre : c, Å, where one that is right is at t + (R Q c) along x and y.
    mirrored : whether they are those of the mirror image, R standing for M R M with M = diag(1, 1, -1).
    """

    turn: Float[np.ndarray, "3 3"]
    centre: Float[np.ndarray, "3"]
    mirrored: bool

    @property
    def angle(self) -> float:
        """Of the turn, radians."""
        return float(Rotation.from_matrix(self.turn).magnitude())

    def of(self, pose: Pose) -> Pose:
        """Return right poses as they are in this frame."""
        right = np.asarray(pose.rotation, np.float64)
        rotation = (MIRROR @ right @ MIRROR if self.mirrored else right) @ self.turn
        return Pose(rotation=rotation, shift=np.asarray(pose.shift, np.float64) + (rotation @ self.centre)[:, :2])


def nearest_poses(
    pose: Pose, right: Pose, operators: Float[np.ndarray, "copies 3 3"] = ALONE, frame: Frame | None = None
) -> Pose:
    """Return the right poses that are nearest to others, of R S for all operators S, which give the same image.

    Parameters
    ----------
    pose : those that they are to be near to.
    right : R and t.
    operators : S, of the structure's symmetry.
    frame : in which `pose` is; None for that of the right ones.
    """
    found = np.asarray(pose.rotation, np.float64)
    if frame is None:
        frame = Frame(np.eye(3), np.zeros(3), False)
    nearest = np.array(right.rotation, np.float64)
    most = np.full(len(found), -np.inf)
    for operator in np.asarray(operators, np.float64):
        same = np.asarray(right.rotation, np.float64) @ operator
        trace = np.sum(frame.of(Pose(rotation=same, shift=right.shift)).rotation * found, axis=(1, 2))
        nearest[trace > most] = same[trace > most]
        most = np.maximum(trace, most)
    return Pose(rotation=nearest, shift=right.shift)


def common_frame(pose: Pose, right: Pose, operators: Float[np.ndarray, "copies 3 3"] = ALONE) -> Frame:
    """Return the frame in which most poses are as near to the right ones as can be; a few may be anywhere.

    Of both hands, and of the turns that single particles tell, the one with the least median of angles; then the mean
    of the turns that are near to it, and the centre by least squares over these particles. Of a symmetric structure
    the turn is the least of those that make no difference.

    Parameters
    ----------
    pose, right : of the same particles.
    operators : of the structure's symmetry, by which each right pose may be another (`nearest_poses`).
    """
    best: tuple[float, np.ndarray, bool] | None = None
    found = np.asarray(pose.rotation, np.float64)
    for mirrored in (False, True):
        frame = Frame(np.eye(3), np.zeros(3), mirrored).of(right).rotation
        every, same = np.swapaxes(frame, 1, 2) @ found, _in_hand(operators, mirrored)
        for one in np.unique(np.linspace(0, len(found) - 1, TRIED).astype(int)):
            traces = every.reshape(-1, 9) @ (same @ every[one]).reshape(-1, 9).T
            turns = Rotation.from_matrix(np.swapaxes(same, 1, 2)[traces.argmax(axis=1)] @ every)
            away = (turns * Rotation.from_matrix(every[one]).inv()).magnitude()
            middle = float(np.median(away))
            if best is None or middle < best[0]:
                near = away <= middle
                best = middle, turns[near].mean().as_matrix(), mirrored
    if best is None:
        raise ValueError("no poses")
    _, turn, mirrored = best
    turns = _in_hand(operators, mirrored) @ turn
    turn = turns[np.trace(turns, axis1=1, axis2=2).argmax()]
    right = nearest_poses(pose, right, operators, Frame(turn, np.zeros(3), mirrored))
    placed = Frame(turn, np.zeros(3), mirrored).of(right)
    away, off = pose_errors(pose, placed.rotation, placed.shift)
    near = np.linalg.norm(away, axis=1) <= np.median(np.linalg.norm(away, axis=1))
    rows = placed.rotation[near][:, :2]
    centre = np.linalg.lstsq(rows.reshape(-1, 3), off[near].reshape(-1), rcond=None)[0]
    return Frame(turn, centre, mirrored)


def _in_hand(operators: Float[np.ndarray, "copies 3 3"], mirrored: bool) -> Float[np.ndarray, "copies 3 3"]:
    """Return the operators of a structure, or of its mirror image."""
    operators = np.asarray(operators, np.float64)
    return MIRROR @ operators @ MIRROR if mirrored else operators
