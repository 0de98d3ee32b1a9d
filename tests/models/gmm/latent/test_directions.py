"""Changes of low rank in normal equations: posteriors, modes, and which directions stand out."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.latent.directions import find_directions, gumbel_tail, nothing_changes, spectrum
from libhetero.models.gmm.latent.low_rank import LowRank, expected, fit_modes, log_likelihood, missed_without
from libhetero.models.gmm.latent.normal_equations import Equations

SIZE, PIXELS = 12, 9


def problem(rank: int, count: int = 900, *, strength: float = 1.0, seed: int = 0, contrast: float = 0.0) -> tuple:
    """Return equations of particles that each show nine numbers of twelve, their modes and their latents.

    The first column is a nuisance of standard deviation `contrast`.
    """
    rng = np.random.default_rng(seed)
    modes = np.zeros((SIZE, rank))
    modes[1:] = strength * np.linalg.qr(rng.normal(size=(SIZE - 1, max(rank, 1))))[0][:, :rank]
    latent, nuisance = rng.normal(size=(count, rank)), contrast * rng.normal(size=count)
    change = latent @ modes.T
    change[:, 0] = nuisance
    seen = rng.normal(size=(count, PIXELS, SIZE)) / 2
    data = np.einsum("nps,ns->np", seen, change) + rng.normal(size=(count, PIXELS))
    noise = rng.normal(size=(count, 20, PIXELS))
    equations = Equations(
        np.einsum("npa,npb->nab", seen, seen).astype(np.float32),
        np.einsum("npa,np->na", seen, data).astype(np.float32),
        np.einsum("npa,ndp->nda", seen, noise).astype(np.float32),
        nuisances=1,
        fields=0,
        kinds="a",
    )
    return equations, modes, seen, data


def test_posterior_and_likelihood_are_those_of_the_data():
    """Against the normal distribution of the nine numbers of each particle."""
    equations, modes, seen, data = problem(2, 30, contrast=0.5)
    known = np.zeros((SIZE, 1))
    known[0] = 0.5
    model = LowRank(known, modes, np.linspace(-0.2, 0.2, SIZE))
    said = expected(equations, model)
    for i in range(30):
        shown = seen[i] @ model.directions
        total = shown @ shown.T + np.eye(PIXELS)
        rest = data[i] - seen[i] @ model.mean
        mean = shown.T @ np.linalg.solve(total, rest)
        np.testing.assert_allclose(said.latent[i], mean, atol=1e-4)
        np.testing.assert_allclose(said.covariance[i], np.eye(3) - shown.T @ np.linalg.solve(total, shown), atol=1e-4)
        gain = 0.5 * (data[i] @ data[i] - rest @ np.linalg.solve(total, rest) - np.linalg.slogdet(total)[1])
        np.testing.assert_allclose(said.likelihood[i], gain, atol=1e-3)
    np.testing.assert_allclose(log_likelihood(equations, model), said.likelihood.sum(), rtol=1e-5)
    without = said.likelihood.sum() - log_likelihood(equations, model.without(1))
    np.testing.assert_allclose(missed_without(said)[2], without, rtol=1e-3)


def test_modes_and_nuisances_are_recovered_from_partial_views():
    equations, modes, _, _ = problem(2, contrast=0.5)
    start = modes + 0.3 * np.random.default_rng(4).normal(size=modes.shape)
    known = np.zeros((SIZE, 1))
    known[0] = 0.4
    model = LowRank(known, start, np.zeros(SIZE))
    before = log_likelihood(equations, model)
    model = fit_modes(equations, model, np.full(SIZE, 100.0), 40)
    assert log_likelihood(equations, model) > before
    true = modes @ modes.T
    assert np.linalg.norm(model.modes @ model.modes.T - true) < 0.2 * np.linalg.norm(true)
    np.testing.assert_allclose(model.known[0, 0], 0.5, atol=0.06)
    np.testing.assert_allclose(model.mean, 0, atol=0.2)


def test_where_a_number_of_a_mode_is_not_expected_to_vary_it_does_not():
    equations, modes, _, _ = problem(2)
    prior = np.full(SIZE, 1.0)
    prior[5] = 1e-10
    model = fit_modes(equations, LowRank(np.zeros((SIZE, 0)), modes, np.zeros(SIZE)), prior, 5)
    assert np.abs(model.modes[5]).max() < 1e-3 < np.abs(modes[5]).max()


@pytest.mark.parametrize("rank", [1, 3])
def test_directions_that_are_there_are_found_and_no_other(rank):
    equations, modes, _, _ = problem(rank, contrast=0.3)
    found = find_directions(equations, "a", 8)
    assert found.model.rank == rank
    assert found.p.max() < 1e-6 and found.gain > 100
    assert (np.diff(found.strength) <= 0).all()
    basis = np.linalg.qr(found.model.modes)[0]
    assert (np.linalg.norm(basis.T @ modes, axis=0) > 0.9 * np.linalg.norm(modes, axis=0)).all()


def test_nothing_is_found_in_nothing_and_its_p_values_are_not_small():
    """Eight sets, contrast that varies included: no direction, and p-values spread from 0 to 1."""
    p = []
    for seed in range(8):
        equations, _, _, _ = problem(0, 300, seed=seed, contrast=0.3)
        nothing = nothing_changes(equations)
        found = find_directions(equations, "a", 8, nothing)
        assert found.model.rank == 0 and found.gain == 0
        p.append(spectrum(equations, nothing, equations.of_patches("a")).p[0])
    assert min(p) > 0.005 and 0.2 < np.mean(p) < 0.8


def test_a_number_of_directions_that_is_asked_for_is_given():
    equations, _, _, _ = problem(1)
    assert find_directions(equations, "a", 3, forced=True).model.rank == 3


def test_noise_that_is_larger_than_its_weights_say_is_no_direction():
    equations, _, seen, data = problem(0, 600)
    gradient = np.einsum("npa,np->na", seen, 1.5 * data).astype(np.float32)
    louder = Equations(equations.hessian, gradient, equations.noise, 1, 0, "a")
    assert find_directions(louder, "a", 8).model.rank == 0
    assert find_directions(louder, "a", 1, forced=True).p[0] > 0.1


@pytest.mark.parametrize("count", [3, 4, 8])
def test_noise_is_measured_where_there_are_fewer_particles_than_columns(count):
    """Of the eigenvalues as many as particles are not 0: their median tells noise that is three times as strong."""
    equations, _, _, _ = problem(0, count)
    model = LowRank(np.zeros((SIZE, 1)), np.zeros((SIZE, 0)), np.zeros(SIZE))
    columns = equations.of_patches("a")
    loud = dataclasses.replace(equations, gradient=3 * equations.gradient)
    usual, seen = (spectrum(one, model, columns) for one in (equations, loud))
    assert 1 <= usual.excess < 2 and 4 < seen.excess < 18
    assert usual.p.min() > 1e-3 < seen.p.min()


def test_gain_is_that_of_the_modes_and_not_of_a_mean_that_is_off():
    """A neutral mixture that is wrong in the same way for all particles is no change."""
    equations, _, seen, data = problem(1)
    off = np.linspace(-1, 1, SIZE)
    off[0] = 0
    data = data + seen @ off
    shifted = dataclasses.replace(equations, gradient=np.einsum("npa,np->na", seen, data).astype(np.float32))
    right, wrong = (find_directions(one, "a", 8) for one in (equations, shifted))
    assert right.model.rank == wrong.model.rank == 1
    np.testing.assert_allclose(wrong.gain, right.gain, rtol=0.05)


def test_the_tail_of_the_largest_falls_from_one_to_nothing():
    largest = np.random.default_rng(0).gumbel(2.0, 0.1, 4000)
    np.testing.assert_allclose(gumbel_tail(np.array([2.0, 2.3]), largest), [0.632, 0.0486], atol=0.02)
    assert gumbel_tail(np.array([1.0]), largest)[0] > 0.999
    assert gumbel_tail(np.array([50.0]), largest)[0] < 1e-100
