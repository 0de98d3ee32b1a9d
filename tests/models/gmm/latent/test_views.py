"""Normal equations of particles that several images show."""

import dataclasses

import numpy as np

from libhetero.models.gmm.latent.directions import nothing_changes
from libhetero.models.gmm.latent.low_rank import LowRank
from libhetero.models.gmm.latent.normal_equations import NUISANCES, normal_equations
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.latent.views import particle_equations, relearnt, without_nuisances
from libhetero.models.gmm.layout import Layout
from libhetero.physics.symmetry import symmetry_operators
from libhetero.records import Gaussians
from tests.making.images import BOX, PIXEL, batch_of, clean_images, particles
from tests.making.mixtures import mixture
from tests.making.optics import defocus_series
from tests.making.poses import poses

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


def test_sums_are_the_same_whichever_thread_is_first() -> None:
    """A particle of more images than are worked on at once."""
    batch = dataclasses.replace(particles(40), views=20)
    first, again = (particle_equations(imaging(), batch, PATCH, Layout.of("a"), draws=2) for _ in range(2))
    np.testing.assert_array_equal(first.hessian, again.hessian)
    np.testing.assert_array_equal(first.gradient, again.gradient)
    np.testing.assert_array_equal(first.noise, again.noise)


def test_changes_are_not_taken_for_nuisances_once_they_are_known() -> None:
    """Images are those of a mixture of which all moves along x; poses are right."""
    count, views = 60, 4
    pose, ctf = poses(count * views, 5), defocus_series(count * views)
    moved = np.repeat(np.random.default_rng(3).normal(0, 1.0, count), views)
    clean = [
        np.asarray(clean_images(shifted(x), pose.take(slice(i, i + 1)), ctf.take(slice(i, i + 1))))[0]
        for i, x in enumerate(moved)
    ]
    images = np.array(clean) + 0.05 * np.std(clean) * np.random.default_rng(4).normal(size=np.shape(clean))
    batch = dataclasses.replace(batch_of(images, pose, ctf), views=views)
    equations = particle_equations(imaging(), batch, np.zeros(20, int), Layout.of("p"), draws=2)
    assert equations.solved is not None
    assert equations.solved.spread[1:3].max() > 0.3  # Å, as if poses were off
    mode = np.array([[1.0], [0.0], [0.0]])
    known = relearnt(equations, LowRank(np.zeros((3, 0)), mode, np.zeros(3)))
    assert known is not None and known.spread[1:3].max() < 0.1


def shifted(along: float) -> Gaussians:
    place = np.array(mixture().position)
    place[:, 0] += along
    return dataclasses.replace(mixture(), position=place)
