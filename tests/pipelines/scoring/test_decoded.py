"""A particle's volume is that of its latent, which all of its images have said together."""

import numpy as np

from libhetero.pipelines.scoring.decoded import decode_volumes
from tests.making.series import series_run

GROUP = np.array([2, 0, 2, 1, 0, 2, 1, 0])


def test_the_volume_of_a_tilt_series_is_that_of_all_its_images(tmp_path):
    run = series_run(tmp_path, GROUP)
    pixel = run.feed().batch(np.arange(len(GROUP))).images.mean(axis=(1, 2))
    chosen = np.array([5, 1, 2, 6])
    found = np.array([volume.mean() for volume in decode_volumes(run, chosen, 3)])
    expected = np.array([pixel[one == GROUP].mean() for one in GROUP[chosen]])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(pixel[chosen] / expected - 1).max() > 0.05, "each image alone says something else"


def test_the_volume_of_a_single_image_is_its_own(tmp_path):
    run = series_run(tmp_path, np.arange(5))
    object.__setattr__(run.particles, "group", None)
    pixel = run.feed().batch(np.arange(5)).images.mean(axis=(1, 2))
    found = np.array([volume.mean() for volume in decode_volumes(run, np.array([3, 1, 0]), 2)])
    np.testing.assert_allclose(found, pixel[[3, 1, 0]], rtol=1e-5)
