"""FSC and the area under it."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.metrics import fsc as metric
from libhetero.physics.masks import soft_sphere
from tests.reference import correlation as twin


def two_volumes(n=12, seed=0):
    random = np.random.default_rng(seed)
    first = random.normal(size=(n, n, n))
    return first, first + random.normal(size=(n, n, n))


def test_agrees_with_the_sum_over_shells():
    first, second = two_volumes()
    mask = np.asarray(soft_sphere(12, 3.0, 2.0))
    for used in (None, mask):
        expected = twin.shell_correlation(first, second, used)
        np.testing.assert_allclose(metric.masked_fsc(first, second, used), expected, atol=2e-5)


def test_area_is_the_trapezoid():
    values = metric.masked_fsc(*two_volumes())
    assert metric.fsc_area(values) == pytest.approx(twin.area(values, 12), rel=1e-6)


def test_perfect_map_reaches_the_largest_area():
    volume, _ = two_volumes(16)
    values = metric.masked_fsc(volume, 3 * volume)
    assert metric.fsc_area(values) == pytest.approx(7 / 16, abs=1e-5)
    assert metric.normalised_area(values) == pytest.approx(1.0, abs=1e-5)
    assert metric.largest_area(128) == pytest.approx(0.4921875)


def test_inverted_map_is_negative():
    volume, _ = two_volumes()
    values = metric.masked_fsc(volume, -volume)
    assert values[0] == 1 and np.all(values[1:] < -0.999)


def test_resolution_interpolates_between_shells():
    values = np.array([1.0, 1.0, 0.75, 0.25, 0.0, 0.0])
    assert metric.resolution(values, 0.5, pixel_size=2.0) == pytest.approx(12 * 2.0 / 2.5)
    assert metric.resolution(np.ones(6), 0.5, pixel_size=2.0) == pytest.approx(12 * 2.0 / 5)
    for threshold, shell in ((0.7, 2.1), (0.35, 2.8), (0.143, 3.428)):
        assert metric.resolution(values, threshold, pixel_size=2.0) == pytest.approx(12 * 2.0 / shell)


def test_resolution_is_of_the_first_fall_below_the_threshold():
    """What comes back later is noise; a curve that touches the threshold has not fallen below it."""
    values = np.array([1.0, 0.9, 0.5, 0.9, 0.3, 0.9])
    assert metric.resolution(values, 0.5, pixel_size=1.0) == pytest.approx(12 / (3 + 2 / 3))
    assert metric.resolution(values, 0.6, pixel_size=1.0) == pytest.approx(12 / 1.75)
    nothing = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert metric.resolution(nothing, 0.5, pixel_size=1.0) == pytest.approx(12 / 0.5)


def test_different_boxes_are_refused():
    with pytest.raises(DataError, match="expected equal boxes"):
        metric.masked_fsc(np.zeros((8, 8, 8)), np.zeros((6, 6, 6)))
