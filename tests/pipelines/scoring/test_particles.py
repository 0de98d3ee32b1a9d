"""Poses of a run against the true ones."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.scoring.particles import score_poses
from libhetero.records import GivenPoses, Pose, PoseChange
from tests.making.oracles import BOX, PIXEL, simulated
from tests.making.particles import make_particles

COUNT = 60


def test_poses_of_a_symmetric_structure_are_scored_up_to_its_symmetry(tmp_path):
    """Each is told at another of the true poses that give its image; without the symmetry, all seem wrong."""
    random = np.random.default_rng(0)
    truth = simulated(tmp_path / "set", "mixture", COUNT)
    right, shift = Rotation.random(COUNT, random_state=1), random.normal(size=(COUNT, 2))
    truth = dataclasses.replace(truth, rotation=right.as_matrix(), shift=shift, junk=None)
    same = right.as_matrix() @ symmetry_operators("c4")[random.integers(4, size=COUNT)]
    off = np.radians(2.0) * np.eye(3)[random.integers(3, size=COUNT)]
    given = Pose(rotation=Rotation.from_rotvec(off).as_matrix() @ same, shift=shift)
    nothing, deviation = np.zeros((COUNT, 2)), np.full((COUNT, 3), 0.1)
    change = PoseChange(turn=-off, shift=nothing, turn_deviation=deviation, shift_deviation=nothing + 0.1)
    particles = dataclasses.replace(
        make_particles(COUNT, BOX, PIXEL), pose=Pose(rotation=same, shift=shift), given=GivenPoses(given, change)
    )
    found = score_poses(particles, None, truth, np.arange(COUNT), "c4")
    assert found["given"]["rotation"] == pytest.approx(2.0, abs=0.01) and "frame" not in found
    assert found["refined"]["rotation"] == pytest.approx(0.0, abs=0.01)
    assert score_poses(particles, None, truth, np.arange(COUNT))["refined"]["rotation"] > 50
