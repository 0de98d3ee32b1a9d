"""Volumes find their own among others, whatever their scale, offset and order."""

import numpy as np
import pytest

from libhetero.metrics import volume_matching
from libhetero.metrics.fsc import normalised_area
from libhetero.metrics.volume_matching import fsc_in_sphere, in_sphere, match_by_fsc

RNG = np.random.default_rng(2)


def test_each_volume_is_matched_to_its_own():
    first = RNG.normal(size=(3, 16, 16, 16)).astype(np.float32)
    others = [40.0 - 3.0 * first[2], *(5.0 * first[[1, 0]] + 100.0), RNG.normal(size=(16,) * 3)]
    second = [np.asarray(one + 0.3 * RNG.normal(size=(16,) * 3), np.float32) for one in others]
    rows, columns, area = match_by_fsc(lambda one: one, list(first), second)
    assert rows.tolist() == [0, 1, 2] and columns.tolist()[:2] == [2, 1] and columns[2] == 3, "inverted is not alike"
    assert area.shape == (3, 4) and area[0, 2] > 0.9 and area[2, 0] < 0
    np.testing.assert_allclose(area.max(axis=1)[:2], area[[0, 1], [2, 1]])
    pairs = [[normalised_area(fsc_in_sphere(in_sphere(one), in_sphere(other))) for other in second] for one in first]
    np.testing.assert_allclose(area, pairs, atol=1e-5)


def test_each_volume_is_transformed_once(monkeypatch):
    transform, count = volume_matching.fourier_volume, []
    monkeypatch.setattr(volume_matching, "fourier_volume", lambda one: count.append(1) or transform(one))
    match_by_fsc(lambda one: one, *map(list, RNG.normal(size=(2, 4, 16, 16, 16)).astype(np.float32)))
    assert len(count) == 8


def test_an_empty_volume_is_like_none():
    volumes = RNG.normal(size=(1, 16, 16, 16)).astype(np.float32)
    area = match_by_fsc(lambda one: one, list(volumes), [np.zeros((16,) * 3, np.float32)])[2]
    assert area == pytest.approx(normalised_area(np.array([1.0, 1, 0, 0, 0, 0, 0, 0])), abs=1e-6)


def test_large_volumes_are_matched_by_their_low_frequencies():
    smooth = np.fft.irfftn(np.fft.rfftn(RNG.normal(size=(2, 56, 56, 56)))[:, :6, :6, :6], s=(56,) * 3, axes=(1, 2, 3))
    second = smooth[::-1] + 0.01 * smooth.std() * RNG.normal(size=smooth.shape)
    rows, columns, _ = match_by_fsc(lambda one: one, *(list(one.astype(np.float32)) for one in (smooth, second)))
    assert columns.tolist() == [1, 0]


def test_an_offset_is_taken_off_in_the_sphere():
    volume = RNG.normal(size=(16,) * 3).astype(np.float32)
    np.testing.assert_allclose(in_sphere(volume + 50.0), in_sphere(volume), atol=1e-4)
    assert in_sphere(volume)[0, 0, 0] == 0
