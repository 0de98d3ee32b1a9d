"""What the poses of a list are off by, as text (`poses_00.txt`), and particles at the refined poses."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.tables import check_list_order, read_numbers
from libhetero.records import GivenPoses, ParticleSet, Pose, PoseChange

COLUMNS = "particle index, turn about x, y and z, shift along x and y, and the standard deviations of these five"
HEADER = (
    "particle, turn about x, y, z (degrees, axes of the image: R' = exp([turn]x) R), shift along x, y (Angstrom), "
    "their standard deviations"
)
MOST_TURN, MOST_SHIFT = 180.0, 1e5  # degrees, Å


def write_pose_changes(path: str | os.PathLike, change: PoseChange) -> None:
    """Write one particle a line, in the order of their list."""
    turns, deviations = np.degrees(change.turn), np.degrees(change.turn_deviation)
    rows = [np.arange(len(turns))[:, None], turns, change.shift, deviations, change.shift_deviation]
    with replacing(path) as beside:
        np.savetxt(beside, np.concatenate(rows, axis=1), fmt=("%d", *["%.5f"] * 10), header=HEADER)


def read_pose_changes(path: str | os.PathLike, count: int) -> PoseChange:
    """Read what the poses of all particles of a list are off by.

    Parameters
    ----------
    count : particles there are.

    Raises
    ------
    DataError : if the file is missing, is no such table, or is of other particles.
    """
    table = read_numbers(path, COLUMNS, least=11, most=11, whole=(0,), rows=count)
    check_list_order(path, table, count, "Restore it, or train a new run.")
    turn, shift = table[:, 1:4], table[:, 4:6]
    if np.abs(turn).max() > MOST_TURN or np.abs(shift).max() > MOST_SHIFT or table[:, 6:].min() < 0:
        raise DataError(
            f"{path}: holds a turn above {MOST_TURN:g} degrees, a shift above {MOST_SHIFT:g} Å or a standard deviation "
            f"below 0; expected {COLUMNS}. Restore it, or train a new run."
        )
    return PoseChange(
        turn=np.radians(turn), shift=shift, turn_deviation=np.radians(table[:, 6:9]), shift_deviation=table[:, 9:]
    )


def at_refined_poses(particles: ParticleSet, change: PoseChange) -> ParticleSet:
    """Return particles at R' = exp([turn]×) R, t' = t + shift, which keep the poses that they had.

    Raises
    ------
    DataError : if they have no poses.
    """
    pose = pose_of(particles)
    return dataclasses.replace(particles, pose=changed_pose(pose, change), given=GivenPoses(pose, change))


def pose_of(particles: ParticleSet) -> Pose:
    """Return the poses of particles.

    Raises
    ------
    DataError : if they have none.
    """
    if particles.pose is None:
        raise DataError("the particles have no pose; expected one for each image.")
    return particles.pose


def at_given_poses(particles: ParticleSet) -> ParticleSet:
    """Return particles at the poses of their list, as it states them."""
    given = particles.given
    return particles if given is None else dataclasses.replace(particles, pose=given.pose, given=None)


def changed_pose(pose: Pose, change: PoseChange) -> Pose:
    """Return R' = exp([turn]×) R and t' = t + shift, in the precision of the pose."""
    turn = Rotation.from_rotvec(np.asarray(change.turn, np.float64)).as_matrix()
    turned = turn @ np.asarray(pose.rotation, np.float64)
    shift = np.asarray(pose.shift, np.float64) + change.shift
    kind = np.asarray(pose.rotation).dtype
    return Pose(rotation=turned.astype(kind), shift=shift.astype(np.asarray(pose.shift).dtype))


def composed(first: PoseChange, then: PoseChange) -> PoseChange:
    """Return what a change and another one of the poses that it leads to are together; the deviations of the other."""
    turn = Rotation.from_rotvec(np.asarray(then.turn)) * Rotation.from_rotvec(np.asarray(first.turn))
    return dataclasses.replace(then, turn=turn.as_rotvec(), shift=np.asarray(first.shift) + then.shift)


def pose_figures(change: PoseChange) -> dict[str, Float[np.ndarray, "particles"]]:
    """Return the columns of lists that say how far each pose was moved, and how well it is known.

    "PoseTurn" and "PoseTurnSd", degrees, and "PoseShift" and "PoseShiftSd", Å: lengths, and the root of the sum of
    variances along the axes.
    """
    return {
        "PoseTurn": np.degrees(np.linalg.norm(change.turn, axis=1)),
        "PoseTurnSd": np.degrees(np.linalg.norm(change.turn_deviation, axis=1)),
        "PoseShift": np.linalg.norm(change.shift, axis=1),
        "PoseShiftSd": np.linalg.norm(change.shift_deviation, axis=1),
    }
