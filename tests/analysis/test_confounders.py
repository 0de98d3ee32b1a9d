"""A coordinate that follows the imaging is told, one that does not is not, with p-values that are true."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from libhetero.analysis.confounders import angle_features, follow, number_features, view_features

COUNT = 300


def test_planted_confounders_are_found_and_named():
    random = np.random.default_rng(0)
    rotation, defocus = Rotation.random(COUNT, random_state=0).as_matrix(), random.uniform(1e4, 2e4, COUNT)
    angle, group = random.uniform(0, 2 * np.pi, COUNT), np.arange(COUNT) % 15
    coordinates = random.normal(size=(COUNT, 5))
    coordinates[:, 1] += 3 * ((defocus - 1.5e4) / 5e3) ** 2
    coordinates[:, 2] += rotation[:, 2, 0] * rotation[:, 2, 1] * 6
    coordinates[:, 3] += np.sin(2 * angle)
    coordinates[:, 4] += random.normal(size=15)[group]
    properties = {
        "defocus": number_features(defocus),
        "view": view_features(rotation),
        "angle": angle_features(angle),
        "micrograph": group,
    }
    found = follow(properties, coordinates, permutations=199)
    assert found.worst(0) is None
    worst = [found.worst(column) for column in range(1, 5)]
    assert [one[0] for one in worst] == ["defocus", "view", "angle", "micrograph"]
    assert worst[2][1] == pytest.approx(1 / 3, abs=0.1), "sin² has a variance of ½, the noise 1"
    assert worst[3][1] == pytest.approx(0.5, abs=0.15), "variance between over variance in all"


def test_no_share_is_above_0_where_nothing_follows_however_much_is_fitted():
    random = np.random.default_rng(2)
    properties = {"many features": random.normal(size=(60, 10)), "many groups": np.arange(60) % 20}
    many, groups = follow(properties, random.normal(size=(60, 200)), 1).share.mean(axis=1)
    assert many < 0, "judged on what it was fitted to it would be 10 / 60"
    assert abs(groups) < 0.03, "and here 20 / 60"


def test_p_values_are_uniform_where_nothing_follows():
    random = np.random.default_rng(1)
    features, group = random.normal(size=(60, 2)), np.arange(60) % 6
    alone, corrected = [], []
    for seed in range(40):
        coordinates = random.normal(size=(60, 2))
        alone.append(follow({"x": features}, coordinates[:, :1], 19, seed).p_value[0, 0])
        corrected.append(follow({"x": features, "group": group}, coordinates, 19, seed).p_value.min())
    assert kstest(alone, "uniform").pvalue > 0.01
    assert 0 < np.mean(np.array(corrected) <= 0.1) < 0.25, "the least of four is below 0.1 in one of ten sets"


def test_what_cannot_be_tested_is_left_out():
    coordinates = np.random.default_rng(0).normal(size=(40, 1))
    properties = {
        "same for all": np.ones((40, 1)),
        "a micrograph each": np.arange(40),
        "one micrograph": np.zeros(40, int),
        "too few particles": np.random.default_rng(1).normal(size=(40, 12)),
        "place": number_features(np.arange(40)),
    }
    found = follow(properties, coordinates, 19)
    assert found.names == ("place",) and found.worst(0) is None
    assert follow({}, coordinates).worst(0) is None
    assert follow(properties, np.zeros((40, 0))).share.shape == (1, 0)


def test_a_number_s_features_do_not_mind_outliers():
    values = np.arange(50.0)
    wild = np.where(values == 49, 1e9, values)
    np.testing.assert_array_equal(number_features(values), number_features(wild))
    first = number_features(values)[:, 0]
    assert first.min() == pytest.approx(-0.98) and first.max() == pytest.approx(0.98)
