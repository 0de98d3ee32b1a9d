"""The largest angle that gives a wanted mean RMSD."""

import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.simulate.complex import generate_complex
from libhetero.simulate.structures import BeadStructure, PointTable, hinges_of_structure
from libhetero.simulate.swing import angle_for_rmsd, mean_rmsd


def turned(position: np.ndarray, hinge: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Turn points about a hinge by the rotation matrix that simulation uses."""
    matrix = np.asarray(axis_angle_to_matrix(np.asarray(axis, np.float32), np.asarray(angle, np.float32)))
    return (position - hinge) @ matrix.T + hinge


def test_turning_the_points_gives_the_wanted_rmsd() -> None:
    structure = BeadStructure(generate_complex(3, 3, 90.0))
    points, hinges = structure.points(), hinges_of_structure(structure)
    largest = angle_for_rmsd(points, hinges, 2.2)
    random, found = np.random.default_rng(5), []
    for _ in range(400):
        moved = points.position.copy()
        for k, (hinge, axis) in hinges.items():
            inside = points.piece == k
            moved[inside] = turned(moved[inside], hinge, axis, largest * random.uniform(-1, 1))
        found.append(np.sqrt(np.sum((moved - points.position) ** 2, axis=1).mean()))
    assert np.mean(found) == pytest.approx(2.2, rel=0.06)


def test_one_point_at_a_known_distance() -> None:
    """A mean over uniform angles of 2 r sin(|θ| / 2) is 4 r (1 - cos(m / 2)) / m."""
    points = PointTable(np.array([[3.0, 0, 7.0]]), np.ones(1), np.array([1]))
    hinges = {1: (np.zeros(3), np.array([0, 0, 2.0]))}
    largest = angle_for_rmsd(points, hinges, 1.0)
    assert 4 * 3 * (1 - np.cos(largest / 2)) / largest == pytest.approx(1.0, rel=0.01)
    assert mean_rmsd(np.array([9.0]), np.pi, np.ones((1, 1))) == pytest.approx(6)


def test_what_no_turn_can_give() -> None:
    points = PointTable(np.array([[3.0, 0, 0]]), np.ones(1), np.array([1]))
    hinges = {1: (np.zeros(3), np.array([0, 0, 1.0]))}
    for rmsd in (0.0, 20.0):
        with pytest.raises(ConfigurationError, match="--rmsd: expected more than 0"):
            angle_for_rmsd(points, hinges, rmsd)
