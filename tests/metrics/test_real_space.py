"""Chamfer distance, volumetric IoU and the levels they need."""

import math

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.metrics import threshold
from libhetero.metrics.chamfer import chamfer_distance
from libhetero.metrics.viou import volumetric_iou
from tests.reference import metrics as twin


def two_sets(seed=1):
    random = np.random.default_rng(seed)
    return random.random((7, 7, 7)) > 0.8, random.random((7, 7, 7)) > 0.8


def test_agree_with_brute_force():
    first, second = two_sets()
    assert chamfer_distance(first, second, 1.5) == pytest.approx(twin.chamfer(first, second, 1.5))
    assert volumetric_iou(first, second) == pytest.approx(twin.iou(first, second))


def test_equal_sets():
    first, _ = two_sets()
    assert chamfer_distance(first, first, 3.0) == 0
    assert volumetric_iou(first, first) == 1


def test_two_voxels_apart():
    first, second = np.zeros((2, 8, 8, 8), bool)
    first[2, 4, 4] = second[5, 4, 4] = True
    assert chamfer_distance(first, second, 2.0) == pytest.approx(6.0)
    assert volumetric_iou(first, second) == 0


def test_empty_sets():
    empty = np.zeros((4, 4, 4), bool)
    assert math.isnan(chamfer_distance(empty, ~empty, 1.0))
    assert volumetric_iou(empty, empty) == 0


def test_level_encloses_the_mass():
    volume = np.random.default_rng(2).normal(size=(16, 16, 16)).astype(np.float32)
    level = threshold.level_for_mass(volume, mass=10_000, pixel_size=3.0)
    assert np.count_nonzero(threshold.above(volume, level)) == round(10_000 * 1.21 / 27)
    with pytest.raises(DataError, match="expected 1 to"):
        threshold.level_for_mass(volume, mass=1e9, pixel_size=3.0)


def test_scale_to_truth_undoes_scale_and_offset():
    truth = np.random.default_rng(3).normal(size=(6, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(threshold.scale_to_truth(5 * truth - 2, truth), truth, atol=1e-5)
    np.testing.assert_allclose(threshold.scale_to_truth(-truth, truth), truth.mean(), atol=1e-5)


def test_offset_to_truth_keeps_scale_and_sign():
    truth = 1 + np.random.default_rng(3).normal(size=(6, 6, 6)).astype(np.float32)
    found = threshold.offset_to_truth(5 * truth - 2, truth)
    np.testing.assert_allclose(found, 5 * truth, atol=1e-4)
    np.testing.assert_array_equal(threshold.offset_to_truth(-truth, truth), -truth)
