"""Masks are 1 at their Gaussians, 0 far away, in the order (z, y, x)."""

import numpy as np

from libhetero.analysis.region_masks import region_mask, typical_spacing


def test_mask_of_one_gaussian_is_a_soft_ball_where_it_lies():
    mask = region_mask(np.array([[6.0, -4.0, 2.0]]), 16, 2.0, radius=3.0, width=4.0)
    assert mask.shape == (16, 16, 16) and mask.dtype == np.float32
    assert mask[8 + 1, 8 - 2, 8 + 3] == 1.0
    aside = mask[8 + 1, 8 - 2, 8 + 3 + 2]
    np.testing.assert_allclose(aside, 0.5 * (1 + np.cos(np.pi / 4)), rtol=1e-5)
    assert mask[0, 15, 0] == 0.0


def test_no_gaussians_mask_nothing():
    assert region_mask(np.zeros((0, 3)), 8, 1.0, 2.0, 2.0).max() == 0.0


def test_spacing_is_that_of_the_grid():
    grid = np.stack(np.meshgrid(*[np.arange(4) * 3.0] * 3), axis=-1).reshape(-1, 3)
    assert typical_spacing(grid) == 3.0
    assert typical_spacing(grid[:1]) == 0.0
