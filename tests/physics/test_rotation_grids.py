"""Grids of rotations: how far they are apart, and that none is preferred."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.physics.rotation_grids import even_rotations, shifts_within, turns_within


@pytest.mark.parametrize("spacing", [0.3, 0.5])
def test_rotations_are_spread_evenly(spacing):
    grid = even_rotations(spacing)
    assert len(grid) == pytest.approx(8 * np.pi**2 / spacing**3, abs=1)
    np.testing.assert_allclose(grid @ np.swapaxes(grid, 1, 2), np.tile(np.eye(3), (len(grid), 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(grid), 1, atol=1e-12)
    drawn = Rotation.random(300, random_state=1).as_matrix()
    cosine = (np.einsum("aij,bij->ab", drawn, grid).max(axis=1) - 1) / 2
    nearest = np.arccos(np.clip(cosine, -1, 1))
    assert nearest.max() < spacing and 0.4 * spacing < nearest.mean() < 0.65 * spacing  # of cubes: 0.48
    np.testing.assert_allclose(grid.mean(axis=0), 0, atol=0.01)
    second = np.einsum("nij,nkl->ijkl", grid, grid) / len(grid)
    np.testing.assert_allclose(second, np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3)) / 3, atol=0.02)


def test_turns_and_shifts_are_those_within_a_length():
    turns = turns_within(0.2, 0.1)
    assert len(turns) == 33 and not np.linalg.norm(turns, axis=1).min()
    assert np.linalg.norm(turns, axis=1).max() <= 0.2 + 1e-9
    shifts = shifts_within(0.05, 0.05)
    np.testing.assert_allclose(sorted(map(tuple, shifts)), [(-0.05, 0), (0, -0.05), (0, 0), (0, 0.05), (0.05, 0)])
    np.testing.assert_array_equal(shifts_within(0.01, 0.05), [[0, 0]])
