"""Density of latents in a plane: what the uncertainty of particles adds is taken off; states and paths."""

import numpy as np
import pytest

from libhetero.analysis.latent_density import PlanePosterior, latent_density, mean_in_cells

RNG = np.random.default_rng(0)


def posterior_of(truth, deviation):
    """Return posterior means and posteriors of places seen with noise, under the prior N(0, 1)."""
    seen = truth + deviation * RNG.normal(size=truth.shape)
    variance = 1 / (1 + deviation**-2)
    covariance = np.broadcast_to(variance * np.eye(2), (len(truth), 2, 2))
    return variance / deviation**2 * seen, PlanePosterior(covariance, np.zeros(2), np.eye(2))


def test_two_states_that_noise_has_run_together_are_told_apart():
    side = RNG.integers(0, 2, 3000)
    truth = np.stack([1.2 * (2 * side - 1), np.zeros(3000)], axis=1) + 0.1 * RNG.normal(size=(3000, 2))
    mean, posterior = posterior_of(truth, 0.9)
    assert len(latent_density(mean).states) == 1, "posterior means alone are one cloud"
    found = latent_density(mean, posterior)
    np.testing.assert_allclose(np.sort(found.places(found.states)[:, 0]), (-1.2, 1.2), atol=0.35)
    np.testing.assert_allclose(found.share, 0.5, atol=0.08)
    assert found.value.sum() == pytest.approx(1)


def test_one_blob_is_one_state_without_a_path():
    mean, posterior = posterior_of(RNG.normal(size=(3000, 2)), 0.5)
    for found in (latent_density(mean), latent_density(mean, posterior)):
        assert len(found.states) == 1 and len(found.path) == 0
    spread = np.sqrt(found.value.sum(axis=0) @ found.x**2)
    assert spread == pytest.approx(1, abs=0.1), "the density is of the places, not of their posterior means"
    assert mean[:, 0].std() < 0.93


def test_the_likeliest_path_follows_an_arc():
    angle = np.concatenate([RNG.uniform(0, np.pi, 4000), RNG.normal(0.1, 0.05, 1500), RNG.normal(3.04, 0.05, 1500)])
    place = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.04 * RNG.normal(size=(7000, 2))
    found = latent_density(place)
    ends = found.places(found.path)[[0, -1]]
    assert set(np.sign(ends[:, 0])) == {-1, 1} and np.abs(ends[:, 0]).min() > 0.8
    assert np.linalg.norm(found.places(found.path), axis=1).min() > 0.75, "not straight through the empty middle"
    steps = np.abs(np.diff(found.path, axis=0)).max(axis=1)
    assert (steps == 1).all()


def test_the_mean_latent_about_a_cell_is_of_the_particles_there():
    place = RNG.normal(size=(2000, 2))
    latent = np.concatenate([place, 3 * place[:, :1]], axis=1)
    found = latent_density(place)
    cells = np.array([[24, 24], [24, 34]])
    mean = mean_in_cells(found, cells, place, latent)
    np.testing.assert_allclose(mean[:, :2], found.places(cells), atol=0.25)
    np.testing.assert_allclose(mean[:, 2], 3 * mean[:, 0], atol=1e-6)
