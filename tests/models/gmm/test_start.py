"""A starting mixture from a map."""

import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.models.gmm.start import (
    default_count,
    default_threshold,
    fit_mixture,
    place_gaussians,
)
from libhetero.physics.gaussians import gaussians_to_volume
from tests.models.tiny_models import BOX, PIXEL, mixture, quick_jit


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """The map of the known mixture, times 2."""
    return 2 * np.asarray(quick_jit(lambda g: gaussians_to_volume(g, BOX, PIXEL))(mixture()))


def test_map_of_known_gaussians_is_fitted(volume):
    start = place_gaussians(volume, PIXEL, 24, default_threshold(volume), seed=0)
    steps = []
    no_mean = volume - volume.mean()  # as a backprojection may have it
    fitted = fit_mixture(no_mean, PIXEL, start, 120, lambda step, value: steps.append((step, value)))
    assert fitted.correlation >= 0.99
    assert steps[-1][0] == 120 and steps[-1][1] == pytest.approx(fitted.correlation, abs=0.01)
    assert fitted.fsc.shape == (BOX // 2,) and fitted.fsc[:5].min() > 0.95
    made = np.asarray(quick_jit(lambda g: gaussians_to_volume(g, BOX, PIXEL))(fitted.gaussians))
    centred = made - made.mean()
    assert np.vdot(centred, volume) == pytest.approx(np.vdot(centred, centred), rel=1e-3)
    assert fitted.gaussians.sigma.min() >= PIXEL / 3
    total = 2 * mixture().amplitude.sum()
    assert fitted.gaussians.amplitude.sum() == pytest.approx(total, rel=0.1)


def test_gaussians_are_placed_in_the_density(volume):
    threshold = default_threshold(volume)
    placed = place_gaussians(volume, PIXEL, 24, threshold, seed=0)
    place = np.rint(placed.position / PIXEL).astype(int) + BOX // 2
    inside = volume[place[:, 2], place[:, 1], place[:, 0]] > 0.5 * threshold
    assert inside.mean() > 0.9
    held = volume[volume > threshold].sum()
    assert placed.amplitude.sum() == pytest.approx(held, rel=1e-4)


def test_width_follows_the_spacing_in_maps_with_many_voxels():
    """Only some voxels of a large map go to k-means; the spacing is that of all."""
    widths = []
    for n in (32, 48):
        place = place_gaussians(np.ones((n, n, n), np.float32), 1.0, 8, 0.5, seed=0)
        widths.append(place.sigma[0] / n)
    assert widths == pytest.approx([0.25, 0.25], rel=1e-5)


def test_too_few_voxels(volume):
    with pytest.raises(DataError, match=r"voxels above the threshold .* Lower --threshold or --ngauss"):
        place_gaussians(volume, PIXEL, 50, 0.95 * volume.max(), seed=0)


def test_inverted_map(volume):
    start = place_gaussians(volume, PIXEL, 8, default_threshold(volume), seed=0)
    with pytest.raises(ConfigurationError, match="do not overlap the map"):
        fit_mixture(-volume, PIXEL, start, 2)


def test_defaults(volume):
    assert default_threshold(volume) <= 0.5 * volume.max()
    assert default_count(np.ones((4, 4, 4)), 0.5, 1.5) == 64
    assert default_count(np.ones((64, 64, 64)), 0.5, 2.0) == 4096
    assert default_count(np.ones((30, 30, 30)), 0.5, 3.0) == 1000
