"""Normal equations of particles that several images show."""

import dataclasses

import numpy as np

from libhetero.models.gmm.latent.directions import nothing_changes
from libhetero.models.gmm.latent.normal_equations import NUISANCES, normal_equations
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.latent.views import particle_equations, without_nuisances
from libhetero.models.gmm.layout import Layout
from libhetero.physics.symmetry import symmetry_operators
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture

COUNT = len(NUISANCES)
PATCH = np.arange(20) % 3


def imaging() -> Imaging:
    weight = np.full((BOX, BOX // 2 + 1), 1e2, np.float32)
    weight[:, 0], weight[:, -1], weight[BOX // 2] = 0, 0, 0
    return Imaging.of(mixture(), symmetry_operators("c1"), 1.0, weight, BOX, PIXEL)


def test_nuisances_are_integrated_over() -> None:
    """g and H are those of the data with the nuisances' covariance added to that of the noise."""
    random = np.random.default_rng(0)
    spread, mean = random.uniform(0.2, 2, COUNT), random.normal(size=COUNT)
    seen = random.normal(size=(4, COUNT + 3, 30))
    data = random.normal(size=(4, 30))
    hessian, gradient = np.einsum("iap,ibp->iab", seen, seen), np.einsum("iap,ip->ia", seen, data)
    noise = np.zeros((4, 0, COUNT + 3))
    found, said, _ = without_nuisances((hessian, gradient, noise), spread, mean, random)
    for i in range(4):
        own, changes = seen[i, :COUNT], seen[i, COUNT:]
        inverse = np.linalg.inv(np.eye(30) + own.T @ np.diag(spread**2) @ own)
        np.testing.assert_allclose(found[i], changes @ inverse @ changes.T, rtol=2e-4, atol=1e-4)
        np.testing.assert_allclose(said[i], changes @ inverse @ (data[i] - mean @ own), rtol=2e-4, atol=1e-4)


def test_what_noise_says_has_the_covariance_of_the_equations() -> None:
    random = np.random.default_rng(1)
    draws = 20_000
    seen = random.normal(size=(1, COUNT + 2, 12))
    hessian = np.einsum("iap,ibp->iab", seen, seen)
    noise = np.einsum("iap,idp->ida", seen, random.normal(size=(1, draws, 12)))
    spread = np.linspace(0.3, 1.0, COUNT)
    found, _, said = without_nuisances((hessian, np.zeros((1, COUNT + 2)), noise), spread, np.zeros(COUNT), random)
    np.testing.assert_allclose(said[0].T @ said[0] / draws, found[0], atol=0.06 * np.abs(found[0]).max())


def test_equations_of_a_particle_are_the_sums_of_those_of_its_images() -> None:
    """Of images with weight alone, once their nuisances are taken off."""
    weight = np.array([1, 1, 1, 1, 1, 0], np.float32)
    single = dataclasses.replace(particles(6), weight=weight)
    layout = Layout.of("a")
    found = particle_equations(imaging(), dataclasses.replace(single, views=3), PATCH, layout, draws=4)
    assert found.nuisances == 0 and found.columns == 3 and found.noise.shape == (2, 4, 3)
    assert found.solved is not None
    each = normal_equations(imaging(), single, PATCH, layout, nuisances=True)
    mean, random = nothing_changes(each).mean[:COUNT], np.random.default_rng(0)
    hessian, gradient, _ = without_nuisances(
        (each.hessian, each.gradient, each.noise), found.solved.spread, mean, random
    )
    for whole, parts in ((found.hessian, hessian), (found.gradient, gradient)):
        summed = np.array([parts[:3].sum(axis=0), parts[3:].sum(axis=0)])
        np.testing.assert_allclose(whole, summed, atol=1e-3 * np.abs(summed).max())


def test_single_images_keep_their_nuisances_in_columns() -> None:
    found = particle_equations(imaging(), particles(4), PATCH, Layout.of("a"))
    assert found.nuisances == COUNT and found.solved is None
