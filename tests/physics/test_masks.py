"""Soft masks."""

import numpy as np

from libhetero.physics import masks
from tests.reference import masks as twin


def test_disc_and_ball_agree_with_the_loop():
    np.testing.assert_allclose(masks.soft_disc(9, 2.5, 2.0), twin.soft_ball(9, 2, 2.5, 2), atol=1e-6)
    np.testing.assert_allclose(masks.soft_sphere(8, 2.0, 1.5), twin.soft_ball(8, 3, 2, 1.5), atol=1e-6)


def test_hard_edge():
    disc = np.asarray(masks.soft_disc(8, 2.0, 0.0))
    assert set(np.unique(disc)) == {0.0, 1.0} and disc[4, 6] == 1 and disc[4, 7] == 0
