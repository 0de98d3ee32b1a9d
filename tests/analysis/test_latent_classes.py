"""Classes of particles: as many as are told apart, with probabilities that hold; a continuum is one."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.analysis import latent_classes as module
from libhetero.analysis.latent_classes import classes_of, without_prior


def mixed(classes, count, numbers, apart, seed=0):
    """Particles of classes in a few of many directions, noise of 1 in all of them."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, count)
    centre = np.zeros((classes, numbers))
    centre[:, : min(6, numbers)] = rng.normal(size=(classes, min(6, numbers)))
    return label, rng.normal(size=(count, numbers)) + apart * centre[label]


def continuum(kind, count, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 2))
    angle = rng.uniform(0, 2 * np.pi, count)
    if kind == "uniform":
        points[:, 0] = rng.uniform(-5, 5, count)
    elif kind == "circle":
        points += 6 * np.column_stack([np.cos(angle), np.sin(angle)])
    elif kind == "tails":
        points *= np.sqrt(4 / rng.chisquare(4, (count, 1)))
    return points


def test_twelve_classes_among_twenty_numbers_are_found():
    label, points = mixed(12, 900, 20, 4.0)
    found = classes_of(points)
    assert 11 <= found.count <= 12
    assert found.directions < 12
    assert adjusted_rand_score(label, found.label) > 0.9


@pytest.mark.parametrize("kind", ["blob", "uniform", "circle", "tails"])
def test_a_continuum_is_one_class(kind):
    found = classes_of(continuum(kind, 800, 3))
    assert found.count == 1
    np.testing.assert_allclose(found.probability, 1, atol=1e-5)


def test_two_states_three_deviations_apart_are_two_with_probabilities_that_hold():
    rng = np.random.default_rng(4)
    state = rng.random(3000) < 0.5
    points = np.column_stack([3.0 * state, np.zeros(3000)]) + rng.normal(size=(3000, 2))
    found = classes_of(points)
    assert found.count == 2
    true = 1 / (1 + np.exp(-np.abs(3.0 * (points[:, 0] - 1.5))))
    assert np.abs(found.probability - true).mean() < 0.02
    assert np.mean(found.label == state) > 0.9
    of_second = 1 / (1 + np.exp(-3.0 * (points[:, 0] - 1.5)))
    assert np.abs(found.probabilities[:, 1] - of_second).mean() < 0.02, "columns are the classes, in their order"
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.max(axis=1), found.probability, atol=1e-4)


def test_what_is_measured_badly_is_less_sure():
    rng = np.random.default_rng(5)
    state, deviation = rng.random(2000) < 0.5, np.where(rng.random((2000, 1)) < 0.5, 0.1, 1.0)
    points = 4.0 * state[:, None] + deviation * rng.normal(size=(2000, 1)) + 0.5 * rng.normal(size=(2000, 1))
    found = classes_of(points, deviation)
    assert found.count == 2
    good = deviation[:, 0] < 0.5
    assert found.probability[good].mean() > 0.995 > 0.98 > found.probability[~good].mean()
    np.testing.assert_allclose(np.mean((found.label == state)[~good]), found.probability[~good].mean(), atol=0.02)


def test_a_number_that_is_asked_for_is_given_with_probabilities():
    label, points = mixed(5, 600, 4, 6.0)
    found = classes_of(points, classes=5)
    assert found.count == 5
    assert adjusted_rand_score(label, found.label) > 0.95
    blob = classes_of(np.random.default_rng(6).normal(size=(400, 3)), classes=4)
    assert blob.count == 4
    assert blob.probability.mean() < 0.9


def test_junk_takes_no_part_and_samples_stand_for_the_rest(monkeypatch):
    label, points = mixed(3, 1200, 3, 8.0)
    monkeypatch.setattr(module, "LARGEST_SAMPLE", 500)
    monkeypatch.setattr(module, "BLOCK", 400)
    weight = np.ones(1200)
    junk = slice(0, 200)
    points[junk] = 40 + 0.1 * np.random.default_rng(7).normal(size=(200, 3))
    weight[junk] = 0
    found = classes_of(points, weight=weight)
    assert found.count == 3
    assert adjusted_rand_score(label[200:], found.label[200:]) > 0.99
    assert len(found.label) == len(found.probability) == 1200


def test_nothing_to_sort_is_one_class():
    for points in (np.ones((30, 2)), np.zeros((30, 0)), np.arange(6.0).reshape(3, 2)):
        assert classes_of(points).count == 1
    unknown = classes_of(np.random.default_rng(8).normal(size=(50, 2)), deviation=np.full((50, 2), np.nan))
    assert unknown.count == 1


def test_the_prior_is_taken_out():
    information = np.array([[0.5], [4.0]])
    deviation = 1 / np.sqrt(1 + information)
    mean = information / (1 + information) * 2.0
    estimate, error = without_prior(mean, deviation)
    np.testing.assert_allclose(estimate, 2.0)
    np.testing.assert_allclose(error, 1 / np.sqrt(information))
