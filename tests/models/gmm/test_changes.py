"""What a change costs: the strain of an elastic network."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.changes import neighbouring_pairs, strain
from tests.making.mixtures import mixture
from tests.making.poses import one_pose


def test_what_moves_and_turns_as_a_whole_costs_nothing() -> None:
    neutral = mixture(30)
    edges = neighbouring_pairs(neutral.position)
    turned = neutral.position @ np.asarray(one_pose().rotation).T + np.float32([5, -3, 8])
    assert float(strain(neutral, edges, dataclasses.replace(neutral, position=turned))) == pytest.approx(0, abs=1e-6)


def test_stretching_costs_the_mean_square_of_the_change_of_distances() -> None:
    neutral = mixture(30)
    edges = neighbouring_pairs(neutral.position)
    distance = np.linalg.norm(neutral.position[edges[:, 0]] - neutral.position[edges[:, 1]], axis=1)
    stretched = dataclasses.replace(neutral, position=1.1 * neutral.position)
    assert float(strain(neutral, edges, stretched)) == pytest.approx(np.mean((0.1 * distance) ** 2), rel=1e-3)
