"""Latents that say the same agree, unrelated ones do not, and neither width nor unit matters."""

import numpy as np
import pytest

from libhetero.analysis.agreement import (
    canonical_correlations,
    chance_correlation,
    correlation,
    predicted_variance,
    shared_neighbours,
)

RNG = np.random.default_rng(0)


def test_a_linear_map_of_a_latent_is_the_same_latent():
    latent = RNG.normal(size=(400, 3)) * [1.0, 5.0, 0.2]
    other = latent @ RNG.normal(size=(3, 3)) + [70.0, -30.0, 10.0]
    np.testing.assert_allclose(canonical_correlations(latent, other), 1.0, atol=0.01)
    assert predicted_variance(latent, other) > 0.98 and predicted_variance(other, latent) > 0.98


def test_unrelated_latents_do_not_agree_however_wide_they_are():
    first, second = RNG.normal(size=(400, 12)), RNG.normal(size=(400, 15))
    found = canonical_correlations(first, second)
    assert len(found) == 12 and abs(found.mean()) < 0.05, "held out: the maximum of many is not taken for agreement"
    assert -0.2 < predicted_variance(first, second) < 0.02


def test_what_is_shared_is_found_among_what_is_not():
    shared = RNG.normal(size=(1000, 2))
    first = np.concatenate([shared, RNG.normal(size=(1000, 2))], axis=1) @ RNG.normal(size=(4, 4))
    second = np.concatenate([shared + 0.5 * RNG.normal(size=(1000, 2)), RNG.normal(size=(1000, 1))], axis=1)
    found = canonical_correlations(first, second)
    expected = 1 / np.sqrt(1 + 0.25)
    np.testing.assert_allclose(found, [expected, expected, 0], atol=0.1)


def test_more_columns_than_particles_tell_apart_are_reduced_and_none_agree_by_none():
    assert len(canonical_correlations(RNG.normal(size=(50, 100)), RNG.normal(size=(50, 100)))) == 5
    nothing = np.zeros((50, 0))
    assert len(canonical_correlations(nothing, nothing)) == 0 and predicted_variance(nothing, nothing) == 0
    constant = np.ones((50, 2))
    assert len(canonical_correlations(constant, RNG.normal(size=(50, 2)))) == 0


def test_correlation_of_numbers():
    x = RNG.normal(size=50)
    assert correlation(x, -2 * x) == pytest.approx(-1) and correlation(x, np.ones(50)) == 0


def test_chance_is_what_unrelated_latents_reach():
    shared = RNG.normal(size=(300, 2))
    chance = chance_correlation(shared, RNG.normal(size=(300, 4)))
    assert 0.05 < chance < 0.35 < canonical_correlations(shared, shared + RNG.normal(size=(300, 2)))[0]
    assert chance_correlation(shared[:60], RNG.normal(size=(60, 4))) > chance, "fewer particles, more by chance"
    assert chance_correlation(np.zeros((50, 0)), np.zeros((50, 0))) == 0


def test_neighbours_stay_neighbours_where_a_latent_is_bent():
    angle = RNG.uniform(0, 6, 200)
    arc = np.column_stack([np.cos(angle), np.sin(angle)])
    assert predicted_variance(arc, angle[:, None]) < 0.7
    shared, chance = shared_neighbours(arc, angle[:, None])
    assert shared > 0.9 and chance == pytest.approx(10 / 199)
    assert shared_neighbours(arc, RNG.normal(size=(200, 3)))[0] < 0.12
    assert shared_neighbours(arc[:1], arc[:1]) == (0.0, 0.0)
