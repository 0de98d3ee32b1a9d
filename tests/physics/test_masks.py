"""Soft masks."""

import numpy as np

from libhetero.physics import masks
from tests.reference import masks as twin


def test_disc_and_ball_agree_with_the_loop():
    np.testing.assert_allclose(masks.soft_disc(9, 2.5, 2.0), twin.soft_ball(9, 2, 2.5, 2), atol=1e-6)
    np.testing.assert_allclose(masks.soft_sphere(8, 2.0, 1.5), twin.soft_ball(8, 3, 2, 1.5), atol=1e-6)


def test_mask_of_a_map_agrees_with_the_loop():
    volume = np.random.default_rng(0).random((7, 7, 7))
    found = masks.soft_mask_from_map(volume, 0.97, 1.0, 2.0)
    np.testing.assert_allclose(found, twin.from_map(volume, 0.97, 1.0, 2.0), atol=1e-6)


def test_hard_edge_and_empty_map():
    disc = np.asarray(masks.soft_disc(8, 2.0, 0.0))
    assert set(np.unique(disc)) == {0.0, 1.0} and disc[4, 6] == 1 and disc[4, 7] == 0
    assert not masks.soft_mask_from_map(np.zeros((4, 4, 4)), 1.0, 1.0, 1.0).any()
