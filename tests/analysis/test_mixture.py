"""A mixture fitted to particles with errors is the mixture that they come from."""

import numpy as np
from scipy.stats import multivariate_normal

from libhetero.analysis import mixture as module
from libhetero.analysis.mixture import Mixture, Seen, fit_mixture, normalised, start_mixture


def seen_of(points, weight=None, start=None, error=None):
    count, columns = points.shape
    return Seen(
        points,
        np.ones(count) if weight is None else weight,
        np.array([0, count]) if start is None else start,
        np.zeros((1, columns)) if error is None else error,
    )


def test_densities_are_those_of_gaussians_wider_by_the_error():
    rng = np.random.default_rng(0)
    mixture = Mixture(np.array([0.3, 0.7]), rng.normal(size=(2, 3)), np.array([0.5, 2.0]), np.array([0.2, 0.4, 1.0]))
    points, error = rng.normal(size=(20, 3)), np.array([0.0, 0.3, 0.1])
    expected = [
        np.log(weight) + multivariate_normal(mean, np.diag(scale * mixture.shape + error)).logpdf(points)
        for weight, mean, scale in zip(mixture.weight, mixture.mean, mixture.scale, strict=True)
    ]
    found = mixture.log_joint(points, error)
    np.testing.assert_allclose(found, np.transpose(expected), rtol=1e-4, atol=1e-4)
    probability, evidence = normalised(found.copy())
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(evidence, np.logaddexp(*expected), rtol=1e-4)


def test_means_and_the_shape_are_found_behind_errors_of_two_qualities(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_BLOCK", 1500)  # several blocks
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 4000)
    truth = np.array([[-1.5, 0.0], [1.5, 0.5]])
    error = np.array([[0.04, 0.04], [1.0, 0.5]])
    quality = np.repeat([0, 1], 2000)
    points = truth[label] + rng.normal(size=(4000, 2)) * np.sqrt(np.array([0.3, 0.1]) + error[quality])
    seen = seen_of(points, start=np.array([0, 2000, 4000]), error=error)
    start = start_mixture(seen, (points[:, 0] > 0).astype(int), 2)
    before = fit_mixture(seen, start, steps=1)[1]
    found, likelihood = fit_mixture(seen, start, steps=200, tolerance=1e-7)
    assert likelihood > before
    np.testing.assert_allclose(found.mean, truth, atol=0.08)
    np.testing.assert_allclose(found.shape, [0.3, 0.1], atol=0.05)
    np.testing.assert_allclose(found.weight, 0.5, atol=0.03)


def test_particles_of_no_weight_do_not_count():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(300, 2))
    member = (points[:, 0] > 0).astype(int)
    junk = np.concatenate([points, 50 + rng.normal(size=(20, 2))])
    weight = np.repeat([1.0, 0.0], [300, 20])
    plain = fit_mixture(seen_of(points), start_mixture(seen_of(points), member, 2), 5)
    seen = seen_of(junk, weight)
    weighted = fit_mixture(seen, start_mixture(seen, np.append(member, np.ones(20, int)), 2), 5)
    np.testing.assert_allclose(weighted[0].mean, plain[0].mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weighted[1], plain[1], rtol=1e-5)
