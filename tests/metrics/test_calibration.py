"""Certainties that are true are told from those that are not; junk by its probability."""

import numpy as np
import pytest

from libhetero.metrics.calibration import errors_over_deviations, right_where_sure
from libhetero.metrics.detection import detection


def test_probabilities_that_are_right_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    probability = random.uniform(0.5, 1, 20_000)
    right = random.uniform(size=20_000) < probability
    found = right_where_sure(probability, right)
    assert found["sure"] == pytest.approx(0.2, abs=0.01)
    assert found["expected"] == pytest.approx(0.95, abs=0.002) and found["right"] == pytest.approx(0.95, abs=0.01)
    assert right_where_sure(probability**0.1, right)["right"] < right_where_sure(probability**0.1, right)["expected"]
    none = right_where_sure(np.array([0.5, 0.89]), np.array([True, False]))
    assert none["sure"] == 0 and np.isnan(none["right"])


@pytest.mark.parametrize("truth", ["line", "presence"])
def test_errors_have_the_deviations_of_the_posterior(truth) -> None:
    """z ~ N(0, I) seen through noise: the posterior of its mean, and a function of z that the latents are to tell."""
    random = np.random.default_rng(1)
    noise = np.array([0.3, 0.6, 1.0])
    z = random.normal(size=(20_000, 3))
    if truth == "presence":  # of one piece: two values of mean 0 and variance 1
        z[:, 0] = np.where(z[:, 0] > 0, 1.0, -1.0)
    mean = (z + noise * random.normal(size=z.shape)) / (1 + noise**2)
    deviation = np.broadcast_to(noise / np.sqrt(1 + noise**2), z.shape)
    t = 3 + 5 * z[:, 0] if truth == "presence" else 3 + z @ np.array([5.0, -2.0, 1.0])
    assert errors_over_deviations(mean, deviation, t).std() == pytest.approx(1, abs=0.02)
    assert errors_over_deviations(mean, deviation / 2, t).std() == pytest.approx(2, abs=0.04)
    assert errors_over_deviations(10 * mean, 10 * deviation, t).std() == pytest.approx(1, abs=0.02)


def test_detection() -> None:
    truth = np.array([True, True, False, False, False])
    found = detection(np.array([0.9, 0.4, 0.6, 0.1, 0.0]), truth)
    assert found == {"called": 0.4, "recall": 0.5, "precision": 0.5, "auc": pytest.approx(5 / 6)}
    none = detection(np.zeros(5), np.zeros(5, bool))
    assert none["called"] == 0 and all(np.isnan(none[name]) for name in ("recall", "precision", "auc"))
