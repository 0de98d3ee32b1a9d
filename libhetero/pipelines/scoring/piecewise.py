"""The bound of a structure that moves: what backprojection makes of it where all angles are known.

A piece that is turned by Q about a hinge h is, in an image of pose (R, t), where the unturned one would be at the pose

    R Q,     t + R (h - Q h)  along x and y

so that all images of the class, backprojected at these, show this piece sharp. Of each such map the part that is
nearest to the piece is taken, turned by the angle of a particle, and the pieces are added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.physics.turning import prepare_turning, turned_volume
from libhetero.pipelines.scoring.subject import Subject
from libhetero.pipelines.scoring.truth import Piece
from libhetero.reconstruction.backproject import reconstruct
from libhetero.records import Batch, Pose

SUPPORT = 0.1  # of the highest value of a piece's map, above which a voxel is the piece's
EDGE = 1.5  # voxels, deviation of the Gaussian that softens the parts


def in_frame(batches: Iterator[Batch], piece: Piece, angles: Float[np.ndarray, "particles"]) -> Iterator[Batch]:
    """Yield the images with the poses at which the piece is not turned.

    Parameters
    ----------
    angles : radians, of the piece in every particle of the set.
    """
    for batch in batches:
        own = angles[np.asarray(batch.index)].astype(np.float32)
        turn = np.asarray(axis_angle_to_matrix(np.broadcast_to(piece.axis, (len(own), 3)), own))
        rotation = np.asarray(batch.pose.rotation)
        moved = np.einsum("nij,nj->ni", rotation, piece.hinge - turn @ piece.hinge)
        pose = Pose(rotation=rotation @ turn, shift=np.asarray(batch.pose.shift) + moved[:, :2])
        yield dataclasses.replace(batch, pose=pose)


def nearest_parts(maps: Sequence[Float[np.ndarray, "n n n"]]) -> list[Float[np.ndarray, "n n n"]]:
    """Return for each piece a soft mask of the voxels that are nearest to it; they add up to 1 everywhere."""
    distance = [ndimage.distance_transform_edt(one <= SUPPORT * one.max()) for one in maps]
    nearest = np.argmin(distance, axis=0)
    return [ndimage.gaussian_filter((nearest == k).astype(np.float32), EDGE, mode="nearest") for k in range(len(maps))]


@dataclass(frozen=True, eq=False)
class Joined:
    """A volume for each particle of a class, joined of pieces that were backprojected in their own frames.

    Parameters
    ----------
    pieces : of the structure.
    prepared : of each, its part of the backprojection, from `prepare_turning`.
    angles : (particles, columns), radians, of the whole set.
    pixel_size : Å.
    """

    pieces: list[Piece]
    prepared: list[np.ndarray]
    angles: np.ndarray
    pixel_size: float

    def __call__(self, i: int) -> Float[np.ndarray, "n n n"]:
        """Return the volume of one particle."""
        turned = []
        for piece, prepared in zip(self.pieces, self.prepared, strict=True):
            turn = np.asarray(axis_angle_to_matrix(piece.axis, np.asarray(self.angles[i, piece.column], np.float32)))
            turned.append(turned_volume(prepared, turn, piece.hinge, self.pixel_size))
        return np.sum(turned, axis=0)


def joined(
    subject: Subject,
    images: np.ndarray,
    pieces: list[Piece],
    maps: Sequence[np.ndarray],
    angles: np.ndarray,
    batch_size: int,
) -> Joined:
    """Backproject each piece of a structure from all its images.

    Parameters
    ----------
    subject : gives the images.
    images : places of those of the class.
    pieces : of the structure, in the order of `maps`.
    maps : (n, n, n), the true one of each piece, unturned: it says where the piece is.
    angles : (particles, columns), radians, of the whole set.
    batch_size : images read at once.
    """
    prepared = []
    for piece, part in zip(pieces, nearest_parts(maps), strict=True):
        stream = in_frame(subject.batches(batch_size, images), piece, angles[:, piece.column])
        volume = reconstruct(stream, subject.box_size, subject.pixel_size).volume
        prepared.append(prepare_turning(part * volume))
    return Joined(pieces, prepared, angles, subject.pixel_size)
