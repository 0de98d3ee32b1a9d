"""A piece in its own frame, where the pieces of a structure are, and the volumes joined of them."""

import dataclasses

import numpy as np

from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.physics.turning import prepare_turning
from libhetero.pipelines.scoring.piecewise import Joined, in_frame, nearest_parts
from libhetero.pipelines.scoring.truth import Piece
from libhetero.simulate.bodies import map_of_gaussians
from tests.making.images import BOX, COUNT, PIXEL, particles
from tests.making.mixtures import gaussians, mixture

PIECE = Piece("piece_01.mrc", 1, np.array([6.0, -3.0, 5.0], np.float32), np.array([0.6, 0.0, 0.8], np.float32))
ANGLES = np.linspace(-0.8, 0.9, COUNT + 1)


def _turned(there, angle: float):
    turn = np.asarray(axis_angle_to_matrix(PIECE.axis, np.asarray(angle, np.float32)))
    return gaussians((there.position - PIECE.hinge) @ turn.T + PIECE.hinge, there.amplitude, there.sigma)


def test_in_its_frame_a_turned_piece_is_where_the_unturned_one_would_be() -> None:
    piece, batch = mixture(), particles()
    batch = dataclasses.replace(batch, index=batch.index + 1)
    (moved,) = in_frame(iter([batch]), PIECE, ANGLES)
    for i in range(COUNT):
        seen = project_gaussians(_turned(piece, ANGLES[i + 1]), batch.pose.take(i), BOX, PIXEL)
        in_own = project_gaussians(piece, moved.pose.take(i), BOX, PIXEL)
        np.testing.assert_allclose(in_own, seen, atol=2e-4 * float(np.abs(seen).max()))
    np.testing.assert_array_equal(moved.images, batch.images)


def test_every_voxel_is_of_the_nearest_piece() -> None:
    maps = np.zeros((2, 12, 12, 12), np.float32)
    maps[0, 4:8, 4:8, 1:4] = maps[1, 4:8, 4:8, 8:11] = 1
    parts = nearest_parts(list(maps))
    np.testing.assert_allclose(sum(parts), 1, atol=1e-5)
    assert parts[0][6, 6, 0] > 0.99 and parts[1][6, 6, 11] > 0.99 and abs(parts[0][6, 6, 5:7].sum() - 1) < 0.1


def test_a_joined_volume_has_each_piece_at_its_angle() -> None:
    core, piece = (gaussians(5 * np.random.default_rng(k).normal(size=(6, 3)), sigma=6.0) for k in range(2))
    still = dataclasses.replace(PIECE, column=0)
    prepared = [prepare_turning(map_of_gaussians(one, BOX, PIXEL)) for one in (core, piece)]
    angles = np.stack([np.zeros(3), [0.0, 0.3, -0.7]], axis=1)
    volume = Joined([still, PIECE], prepared, angles, PIXEL)(2)
    expected = sum(map_of_gaussians(one, BOX, PIXEL) for one in (core, _turned(piece, -0.7)))
    assert np.linalg.norm(volume - expected) < 0.01 * np.linalg.norm(expected)
