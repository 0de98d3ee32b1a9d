"""The contrast of particles: estimated without bias, its spread found, junk found and nothing else called junk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from libhetero.models.contrast import (
    ContrastPrior,
    contrast_evidence,
    contrast_posterior,
    estimate_contrast,
    fit_contrast,
    junk_given_evidence,
    junk_probability,
)

COUNT = 2000


def a_set(junk: float, spread: float, sigma: float, seed: int, draw=np.random.Generator.normal):
    """Return estimates, their deviations, and which particles are junk."""
    random = np.random.default_rng(seed)
    shows_nothing = random.random(COUNT) < junk
    contrast = np.where(shows_nothing, 0, 1 + spread * draw(random, size=COUNT))
    deviation = sigma * np.exp(0.3 * random.normal(size=COUNT))
    return contrast + deviation * random.normal(size=COUNT), deviation, shows_nothing


def test_the_estimate_is_that_of_highest_likelihood_and_its_deviation_is_true():
    random = np.random.default_rng(0)
    expected = random.normal(size=50) + 1j * random.normal(size=50)
    power = np.where(np.arange(50) < 45, random.uniform(0.5, 2, 50), np.inf)
    normal = random.normal(size=(400, 50)) + 1j * random.normal(size=(400, 50))
    images = (0.8 * expected + normal * np.sqrt(0.5 * np.minimum(power, 9e9))).astype(np.complex64)
    weight = jnp.asarray(1 / power, jnp.float32)
    estimate, deviation = jax.vmap(lambda image: estimate_contrast(expected, image, weight))(images)
    assert estimate.mean() == pytest.approx(0.8, abs=4 * float(deviation[0]) / 20)
    assert estimate.std() == pytest.approx(float(deviation[0]), rel=0.12)
    assert np.isfinite(estimate_contrast(0 * expected, images[0])).all()


def test_evidence_is_the_integral_over_contrast():
    prior = ContrastPrior(mean=1.1, spread=0.2)
    for seen, sigma in ((0.9, 0.1), (0.05, 0.1), (0.6, 0.5)):
        integrand = lambda a, x=seen, s=sigma: norm.pdf(x, a, s) * norm.pdf(a, 1.1, 0.2)  # noqa: E731
        expected = np.log(quad(integrand, -1, 3, points=[seen, 1.1])[0]) - norm.logpdf(seen, 0, sigma)
        found = contrast_evidence(jnp.float32(seen), jnp.float32(sigma), prior)
        assert float(found) == pytest.approx(expected, abs=1e-3)
    mean, deviation = contrast_posterior(jnp.float32(0.7), jnp.float32(0.2), prior)
    assert (float(mean), float(deviation)) == pytest.approx((0.9, 0.2 / np.sqrt(2)), rel=1e-5)
    alike = contrast_posterior(jnp.float32(0.7), jnp.float32(0.2), ContrastPrior())
    assert [float(value) for value in alike] == [1, 0]


@pytest.mark.parametrize(("junk", "spread"), [(0.0, 0.0), (0.01, 0.2), (0.1, 0.0), (0.3, 0.2)])
def test_spread_and_junk_are_found_and_probabilities_are_true(junk: float, spread: float):
    estimate, deviation, shows_nothing = a_set(junk, spread, 0.15, seed=1)
    prior = fit_contrast(estimate, deviation)
    assert prior.mean == pytest.approx(1, abs=0.03)
    assert prior.spread == pytest.approx(spread, abs=0.04)
    assert prior.junk == pytest.approx(shows_nothing.mean(), abs=0.012) and (prior.junk > 0) == (junk > 0)
    probability = np.asarray(junk_probability(estimate, deviation, prior))
    assert probability.mean() == pytest.approx(shows_nothing.mean(), abs=0.008)
    sure = (probability > 0.9) | (probability < 0.1)
    assert np.mean((probability > 0.5)[sure] == shows_nothing[sure]) > 0.97


@pytest.mark.parametrize("draw", ["normal", "standard_t", "uniform"])
def test_faint_particles_are_no_junk(draw: str):
    draws = {
        "normal": np.random.Generator.normal,
        "standard_t": lambda random, size: random.standard_t(4, size=size),
        "uniform": lambda random, size: random.uniform(-2, 2, size=size),
    }
    for sigma in (0.05, 0.4):
        estimate, deviation, _ = a_set(0, 0.2, sigma, 2, draws[draw])
        assert not np.any(junk_probability(estimate, deviation, fit_contrast(estimate, deviation)))
    estimate, deviation, _ = a_set(0.1, 0.2, 0.05, 3, draws[draw])
    prior = fit_contrast(estimate, deviation)
    assert float(junk_probability(jnp.float32(0.5), jnp.float32(0.05), prior)) < 0.01
    assert float(junk_probability(jnp.float32(0.02), jnp.float32(0.05), prior)) > 0.9


def test_where_images_say_nothing_nothing_is_junk():
    estimate, deviation, _ = a_set(0.1, 0.2, 1.0, 4)
    probability = junk_probability(estimate, deviation, fit_contrast(estimate, deviation))
    assert not np.any(np.asarray(probability) > 0.5)


def test_probability_falls_with_contrast_and_a_negative_one_is_as_none():
    prior = ContrastPrior(mean=1, spread=0.3, junk=0.1, stray=0.05)
    probability = np.asarray(junk_probability(jnp.linspace(-3, 3, 61), jnp.full(61, 0.2), prior))
    assert (np.diff(probability) <= 1e-6).all() and probability[0] > 0.8 and probability[-1] < 1e-6
    assert np.asarray(junk_given_evidence(jnp.zeros(3), prior)) == pytest.approx(0.1)
    assert not np.asarray(junk_given_evidence(jnp.zeros(3), dataclasses.replace(prior, junk=0.0))).any()


def test_a_set_without_a_mean_and_numbers_that_are_none():
    random = np.random.default_rng(5)
    assert fit_contrast(-np.abs(random.normal(size=100)), np.ones(100)) == ContrastPrior()
    assert fit_contrast(np.zeros(0), np.zeros(0)) == ContrastPrior()
    estimate, deviation, _ = a_set(0, 0.1, 0.1, 6)
    damaged = np.concatenate([estimate, [np.nan, 1.0, 1.0]]), np.concatenate([deviation, [1.0, np.inf, 0.0]])
    assert fit_contrast(*damaged) == fit_contrast(estimate, deviation)
