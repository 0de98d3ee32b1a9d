"""What a mixture says of a particle is what it says when fitted to all others."""

import numpy as np
import pytest

from libhetero.analysis.mixture import Mixture, Seen, fit_mixture, normalised
from libhetero.analysis.predictive import Predictive


def overlapping(classes, each, columns, spread, seed):
    """Particles of classes, those of a class from its own mean, and the mixture of the means that they have."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), each)
    points = spread * rng.normal(size=(classes, columns))[label] + rng.normal(size=(classes * each, columns))
    mean = np.stack([points[label == one].mean(axis=0) for one in range(classes)])
    shape = np.square(points - mean[label]).mean(axis=0)
    mixture = Mixture(np.full(classes, 1 / classes), mean, np.ones(classes), shape)
    return label, points, mixture


def seen_of(points, start=None, error=None):
    count, columns = points.shape
    return Seen(
        points,
        np.ones(count),
        np.array([0, count]) if start is None else start,
        np.zeros((1, columns)) if error is None else error,
    )


@pytest.mark.parametrize("each", [20, 60])
def test_probabilities_hold_where_few_share_a_mean_in_many_directions(each):
    """Those of the mixture itself are too sure by far of what they call 0.9."""
    said, right, plug_in, plug_in_right = [], [], [], []
    for seed in range(4):
        label, points, start = overlapping(30, each, 20, 0.8, seed)
        seen = seen_of(points.astype(np.float32))
        mixture, _ = fit_mixture(seen, start, 40)
        probability = Predictive.of(seen, mixture).probability(seen.points, 0, np.ones(len(points)))
        joint, _ = normalised(mixture.log_joint(seen.points, np.zeros(20)))
        said.append(probability.max(axis=1))
        right.append(probability.argmax(axis=1) == label)
        plug_in.append(joint.max(axis=1))
        plug_in_right.append(joint.argmax(axis=1) == label)

    def too_sure(said, right):
        said, right = np.concatenate(said), np.concatenate(right)
        nearly = (said > 0.85) & (said < 0.95)
        return said[nearly].mean() - right[nearly].mean()

    assert too_sure(said, right) < 0.7 * too_sure(plug_in, plug_in_right)
    assert abs(too_sure(said, right)) < 0.13


def test_of_many_particles_it_is_the_mixture_itself():
    label, points, mixture = overlapping(3, 4000, 2, 1.0, 0)
    found = Predictive.of(seen_of(points), mixture).probability(points, 0, np.ones(len(points)))
    joint = np.exp(mixture.log_joint(points, np.zeros(2)))
    np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True), atol=5e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_a_particle_that_was_not_fitted_is_not_taken_out():
    _, points, mixture = overlapping(2, 8, 3, 2.0, 1)
    predictive = Predictive.of(seen_of(points), mixture)
    fitted, new = (predictive.probability(points, 0, np.full(16, weight)) for weight in (1.0, 0.0))
    own = fitted.argmax(axis=1) == np.repeat([0, 1], 8)
    assert own.mean() > 0.5
    assert (fitted.max(axis=1) <= new.max(axis=1) + 1e-6).mean() > 0.9


def test_a_mean_is_known_better_in_units_of_a_larger_error():
    _, points, mixture = overlapping(2, 50, 3, 2.0, 2)
    error = np.array([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    found = Predictive.of(seen_of(points, np.array([0, 60, 100]), error), mixture)
    good, poor = found.known
    assert (poor > good).all()
    assert (good < 50).all(), "those measured badly say little of the mean"
    empty = Predictive.of(seen_of(points, np.array([0, 100, 100]), error), mixture)
    np.testing.assert_allclose(empty.known[0], 50, rtol=1e-3)
