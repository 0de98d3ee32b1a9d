"""Classes in a subspace: their evidence, the contrast of particles, and sorting, against dense algebra."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal

from libhetero.models.hype.latent.classes import class_sums, integrated_likelihood, judge, posterior, settled
from libhetero.models.hype.latent.normal_equations import Equations

RANK, PIXELS = 3, 12


def made(count, places, spread=0.0, seed=0):
    """Return equations of particles, their columns and images, and the class of each."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % len(places)
    columns = random.normal(size=(count, PIXELS, RANK + 1)) * 1.5
    truth = np.concatenate([np.ones((count, 1)), np.asarray(places, float)[label]], axis=1)
    contrast = 1 + spread * random.normal(size=count)
    image = contrast[:, None] * np.einsum("npq,nq->np", columns, truth) + random.normal(size=(count, PIXELS))
    upper = np.triu_indices(RANK + 1)
    hessian = np.einsum("npq,npr->nqr", columns, columns)[:, upper[0], upper[1]]
    gradient = np.einsum("npq,np->nq", columns, image)
    equations = Equations(gradient.astype(np.float32), hessian.astype(np.float32))
    return equations, columns, image, label, contrast


def test_the_evidence_of_a_class_is_that_of_its_images_together():
    equations, columns, image, _, _ = made(6, [[0.5, -1, 0.2]])
    found = posterior(class_sums(equations, np.array([0, 0, 0, 0, -1, -1])))
    stacked, seen = columns[:4].reshape(-1, RANK + 1), image[:4].ravel()
    covariance = np.eye(len(seen)) + stacked[:, 1:] @ stacked[:, 1:].T
    expected = multivariate_normal(stacked[:, 0], covariance).logpdf(seen)
    noise = multivariate_normal(np.zeros(len(seen)), np.eye(len(seen))).logpdf(seen)
    np.testing.assert_allclose(found.evidence[0], expected - noise, rtol=1e-4)
    assert len(found) == 1 and found.share[0] == 1


@pytest.mark.parametrize("spread", [0.01, 0.2, 0.7])
def test_contrast_is_integrated_over(spread):
    linear, square = 7.0, 11.0

    def density(contrast):
        prior = np.exp(-0.5 * ((contrast - 1) / spread) ** 2) / np.sqrt(2 * np.pi) / spread
        return prior * np.exp(contrast * linear - 0.5 * contrast**2 * square)

    expected = np.log(quad(density, 1 - 8 * spread, 1 + 8 * spread, epsabs=0, limit=200)[0])
    np.testing.assert_allclose(integrated_likelihood(linear, square, spread, np), expected, rtol=1e-6)


def test_particles_go_to_their_class_with_their_contrast():
    places = [[2, 0, 0], [-1, 2, 0], [0, -1, -2]]
    equations, _, _, label, contrast = made(300, places, spread=0.2)
    classes, judged = settled(equations, label, 6, 0.1)
    assert np.mean(judged.label == label) > 0.98
    sure = judged.probability > 0.9
    assert sure.mean() > 0.95 and np.mean((judged.label == label)[sure]) > 0.99
    assert np.corrcoef(judged.contrast, contrast)[0, 1] > 0.8
    assert 0.13 < judged.spread < 0.22
    np.testing.assert_allclose(classes.mean, places, atol=0.2)
    again = judge(equations, classes, judged.spread)
    assert np.mean(again.label == judged.label) > 0.99 and np.all(again.evidence > 0)


def test_classes_that_lose_their_particles_are_gone():
    equations, _, _, label, _ = made(120, [[2, 0, 0], [-2, 0, 0]])
    wrong = np.where(np.arange(120) == 0, 2, label)
    classes, judged = settled(equations, wrong, 8, 0.05)
    assert len(classes) == 2 and set(judged.label) == {0, 1} and judged.label[0] == label[0]
