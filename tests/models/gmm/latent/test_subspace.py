"""The latent that is solved for, and the subspace that it lives in."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.changes import changed, linear_tangents
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent import subspace_fit
from libhetero.models.gmm.latent.normal_equations import make_patches, normal_equations
from libhetero.models.gmm.latent.posterior import draw
from libhetero.models.gmm.latent.subspace import Imaging, gauss_newton
from libhetero.models.gmm.latent.subspace_fit import find_subspace, fit_covariance, fit_modes
from libhetero.models.gmm.layout import Layout
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import fourier_image, half_plane
from libhetero.physics.gaussians import group_quadrants, project_amplitudes, project_gaussians
from libhetero.physics.quadrants import in_quadrants, weights_in_quadrants
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import Gaussians
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture

COUNT = 20  # Gaussians of the tiny mixture


def weights(noise: float = 1.0) -> np.ndarray:
    """Return white weights of the half plane, every number of the image counted once."""
    plane = np.full((BOX, BOX // 2 + 1), 1 / noise, np.float32)
    plane[0, 0] = 0
    plane[BOX // 2 :, 0] = 0
    plane[:, -1] = 0
    plane[BOX // 2] = 0
    return plane


def imaging(noise: float = 1.0, scale: float = 1.0, symmetry: str = "c1") -> Imaging:
    operators = symmetry_operators(symmetry)
    return Imaging.of(mixture(), operators, scale, weights(noise), BOX, PIXEL)


def test_sets_of_amplitudes_and_groups_are_projections():
    pose = particles().pose.take(0)
    gaussians = mixture()
    rng = np.random.default_rng(0)
    amplitudes = rng.normal(size=(3, COUNT)).astype(np.float32)
    made = project_amplitudes(gaussians.position, gaussians.sigma, amplitudes, pose, BOX, PIXEL)
    for row, amplitude in zip(made, amplitudes, strict=True):
        one = project_gaussians(dataclasses.replace(gaussians, amplitude=amplitude), pose, BOX, PIXEL)
        np.testing.assert_allclose(row[0] + 1j * row[1], one, atol=2e-4)
    groups = group_quadrants(gaussians.position, gaussians.sigma, gaussians.amplitude.reshape(4, 5), pose, BOX, PIXEL)
    for number, group in enumerate(groups):
        inside = np.where(np.arange(COUNT) // 5 == number, gaussians.amplitude, 0).astype(np.float32)
        one = project_gaussians(dataclasses.replace(gaussians, amplitude=inside), pose, BOX, PIXEL)
        once = weights_in_quadrants(np.ones(one.shape))
        np.testing.assert_allclose(group * once, in_quadrants(one) * once, atol=2e-4)


@pytest.mark.parametrize("vary", ["p", "a", "pa", "pas"])
def test_tangents_are_the_derivative_of_the_change(vary):
    config = GmmConfig(vary=vary, displacement_scale=4.0)
    outputs = sum({"p": 3, "a": 1, "s": 1}[letter] for letter in vary)
    rng = np.random.default_rng(1)
    modes = rng.normal(size=(COUNT, outputs, 2)).astype(np.float32) * 0.3
    neutral, z = jax.tree.map(jnp.asarray, mixture()), jnp.array([0.4, -0.7])
    displacement, amplitude = linear_tangents(config, neutral, modes, z)
    jacobian = jax.jacfwd(lambda z: changed(config, neutral, modes @ z))(z)
    if "p" in vary:
        np.testing.assert_allclose(displacement, jacobian.position, atol=1e-5)
    if "a" in vary:
        np.testing.assert_allclose(amplitude, jacobian.amplitude, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("vary, symmetry", [("p", "c1"), ("a", "c1"), ("pa", "c1"), ("p", "c3"), ("pa", "d2")])
def test_a_gauss_newton_step_minimises_the_linearised_posterior(vary, symmetry):
    """Against the least-squares solution with a Jacobian from automatic differentiation."""
    config = GmmConfig(vary=vary)
    batch = jax.tree.map(lambda leaf: leaf[0], particles(1))
    pose, image = batch.pose, batch.images
    rng = np.random.default_rng(2)
    outputs = sum({"p": 3, "a": 1}[letter] for letter in vary)
    modes = jnp.asarray(rng.normal(size=(COUNT, outputs, 3)) * 0.1, jnp.float32)
    neutral, z = jax.tree.map(jnp.asarray, mixture()), jnp.array([0.1, 0.2, -0.1])
    scale, weight = 2.0, weights(3.0)
    transfer = ctf_at(batch.ctf, half_plane(BOX, PIXEL)) * scale

    def whitened(z):
        whole = symmetric_copies(changed(config, neutral, modes @ z), symmetry_operators(symmetry))
        plane = project_gaussians(whole, pose, BOX, PIXEL) * transfer
        plane = plane * np.sqrt(2 * weight)
        return jnp.concatenate([jnp.real(plane).ravel(), jnp.imag(plane).ravel()])

    target = fourier_image(image) * np.sqrt(2 * weight)
    target = jnp.concatenate([jnp.real(target).ravel(), jnp.imag(target).ravel()])
    jacobian = np.asarray(jax.jacfwd(whitened)(z), np.float64)
    residual = np.asarray(target - whitened(z), np.float64)
    stacked = np.concatenate([jacobian, np.eye(3)])
    step = np.linalg.lstsq(stacked, np.concatenate([residual, -np.asarray(z)]), rcond=None)[0]
    found, precision = gauss_newton(
        imaging(3.0, scale, symmetry),
        Layout.of(vary),
        changed(config, neutral, modes @ z),
        linear_tangents(config, neutral, modes, z),
        image,
        batch.observation,
        z,
    )
    np.testing.assert_allclose(found, z + step, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(precision, jacobian.T @ jacobian + np.eye(3), rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("symmetry, still", [("c1", 0), ("c3", 0), ("c1", 5), ("d2", 5)])
def test_normal_equations_are_those_of_the_patches(symmetry, still):
    """Against a Jacobian by automatic differentiation, positions and amplitudes of two patches."""
    batch = particles(3)
    patch = np.repeat([0, -1, 1], [8, still, 12 - still])
    hessian, gradient = normal_equations(imaging(symmetry=symmetry), batch, patch, Layout.of("pa"))
    neutral = jax.tree.map(jnp.asarray, mixture())
    mobile = jnp.asarray(patch >= 0)

    def whitened(change, number):
        moved = Gaussians(
            neutral.position + change[:6].reshape(3, 2).T[patch] * mobile[:, None],
            neutral.amplitude * (1 + change[6:][patch] * mobile),
            neutral.sigma,
        )
        moved = symmetric_copies(moved, symmetry_operators(symmetry))
        plane = project_gaussians(moved, batch.pose.take(number), BOX, PIXEL)
        plane = plane * ctf_at(batch.ctf.take(number), half_plane(BOX, PIXEL)) * np.sqrt(2 * weights())
        return jnp.concatenate([jnp.real(plane).ravel(), jnp.imag(plane).ravel()])

    for number in range(3):
        target = fourier_image(batch.images[number]) * np.sqrt(2 * weights())
        target = jnp.concatenate([jnp.real(target).ravel(), jnp.imag(target).ravel()])
        jacobian = jax.jit(jax.jacfwd(lambda change, n=number: whitened(change, n)))(jnp.zeros(8))
        expected = jacobian.T @ jacobian
        np.testing.assert_allclose(hessian[number], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
        slope = jacobian.T @ (target - whitened(jnp.zeros(8), number))
        np.testing.assert_allclose(gradient[number], slope, rtol=1e-3, atol=1e-3 * np.abs(slope).max())


def test_particles_without_weight_have_no_normal_equations():
    batch = particles(3)
    alone = dataclasses.replace(batch, weight=np.array([1, 0, 1], np.float32))
    patch = np.repeat([0, 1], 10)
    whole, some = (normal_equations(imaging(), sample, patch, Layout.of("pa")) for sample in (batch, alone))
    for all_of_them, kept in zip(whole, some, strict=True):
        assert len(kept) == 2
        np.testing.assert_allclose(kept, all_of_them[[0, 2]], atol=1e-5 * np.abs(all_of_them).max())


def test_draws_about_a_latent_are_those_of_its_posterior():
    """Mean and covariance of many draws of one particle, the inverse of its precision."""
    precision = np.array([[2.0, 0.8, 0.0], [0.8, 3.0, -0.5], [0.0, -0.5, 1.0]], np.float32)
    mean = np.array([1.0, -2.0, 0.5], np.float32)
    count = 40_000
    means, precisions = jnp.tile(mean, (count, 1)), jnp.tile(precision, (count, 1, 1))
    drawn = np.asarray(jax.jit(draw)(means, precisions, jax.random.key(0)))
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), np.linalg.inv(precision), atol=0.03)


def linear_problem(rank: int, particles_: int = 600, last: float = 1.0):
    """Return H, g, true modes and mean of a linear problem of which a particle shows five numbers.

    The last of the six unknowns is seen `last` times as strongly as the others.
    """
    rng = np.random.default_rng(3)
    size = 6
    modes = rng.normal(size=(size, rank))
    mean = rng.normal(size=size) * 0.3
    change = mean + rng.normal(size=(particles_, rank)) @ modes.T
    seen = rng.normal(size=(particles_, 5, size)) * np.array([1, 1, 1, 1, 1, last])
    noise = 0.3
    data = np.einsum("nps,ns->np", seen, change) + noise * rng.normal(size=(particles_, 5))
    hessian = np.einsum("npa,npb->nab", seen, seen) / noise**2
    gradient = np.einsum("npa,np->na", seen, data) / noise**2
    return hessian.astype(np.float32), gradient.astype(np.float32), modes, mean


def test_covariance_is_recovered_from_partial_views():
    hessian, gradient, modes, mean = linear_problem(6)
    covariance, found = fit_covariance(hessian, gradient, np.eye(6), 60)
    true = modes @ modes.T
    assert np.linalg.norm(covariance - true) < 0.15 * np.linalg.norm(true)
    np.testing.assert_allclose(found, mean, atol=0.3)


@pytest.mark.parametrize("noise", [0.3, 1e-2, 1e-4])
def test_covariance_of_many_changes_is_that_of_plain_inverses(noise):
    """Also where the images show much: H is ill-conditioned then."""
    rng = np.random.default_rng(5)
    size, count = 40, 150
    change = rng.normal(size=(count, 2)) @ rng.normal(size=(2, size))
    seen = rng.normal(size=(count, 12, size))
    data = np.einsum("nps,ns->np", seen, change) + noise * rng.normal(size=(count, 12))
    hessian = np.float32(np.einsum("npa,npb->nab", seen, seen) / noise**2)
    gradient = np.float32(np.einsum("npa,np->na", seen, data) / noise**2)
    covariance, _ = fit_covariance(hessian, gradient, np.eye(size), 3)
    plain, mean = np.eye(size), np.zeros(size)
    for _ in range(3):
        spread = np.linalg.inv(
            hessian.astype(float) + np.linalg.inv(plain + 1e-6 * np.trace(plain) / size * np.eye(size))
        )
        expected = mean + np.einsum("nab,nb->na", spread, gradient - hessian.astype(float) @ mean)
        mean, plain = expected.mean(axis=0), spread.mean(axis=0) + np.cov(expected, rowvar=False, bias=True)
    np.testing.assert_allclose(covariance, plain, atol=0.01 * np.abs(plain).max())


def test_modes_are_recovered_from_partial_views():
    hessian, gradient, modes, mean = linear_problem(2)
    start = modes + 0.5 * np.random.default_rng(4).normal(size=modes.shape)
    found, centre = fit_modes(hessian, gradient, start, np.zeros(6), np.full(6, 100.0), 40)
    true = modes @ modes.T
    assert np.linalg.norm(found @ found.T - true) < 0.15 * np.linalg.norm(true)
    np.testing.assert_allclose(centre, mean, atol=0.3)


def test_what_is_hardly_seen_does_not_change():
    hessian, gradient, modes, mean = linear_problem(2, last=1e-3)
    start = modes + 0.5 * np.random.default_rng(4).normal(size=modes.shape)
    wild, _ = fit_modes(hessian, gradient, start, np.zeros(6), np.full(6, 1e12), 40)
    found, centre = fit_modes(hessian, gradient, start, np.zeros(6), np.full(6, 1.0), 40)
    assert np.abs(found[5]).max() < 0.5 < 2 < np.abs(wild[5]).max()
    assert abs(centre[5]) < 0.5
    true = modes[:5] @ modes[:5].T
    assert np.linalg.norm(found[:5] @ found[:5].T - true) < 0.15 * np.linalg.norm(true)


def changing_particles(count: int = 300) -> tuple:
    """Return particles in which Gaussians 0-6 and 7-13 come and go, and the states."""
    batch = particles(count, noise=0.0)
    states = np.random.default_rng(5).random((count, 2)) < 0.5
    which = np.repeat([0, 1, 2], [7, 7, 6])
    present = np.column_stack([1.6 * states + 0.2, np.ones(count)])[:, which].astype(np.float32)
    neutral = mixture()

    @jax.jit
    @jax.vmap
    def image(present, pose, ctf):
        made = Gaussians(neutral.position, neutral.amplitude * present, neutral.sigma)
        plane = project_gaussians(made, pose, BOX, PIXEL) * ctf_at(ctf, half_plane(BOX, PIXEL))
        return jnp.fft.fftshift(jnp.fft.irfft2(plane, (BOX, BOX)))

    clean = np.asarray(image(present, batch.pose, batch.ctf))
    noise = 0.3 * clean.std()
    noisy = clean + noise * np.random.default_rng(6).normal(size=clean.shape)
    return dataclasses.replace(batch, images=noisy.astype(np.float32)), states, which, noise


def test_pieces_that_come_and_go_span_the_subspace():
    batch, states, which, noise = changing_particles()
    seen = imaging(BOX**2 * noise**2)
    subspace = find_subspace(seen, batch, Layout.of("a"), rank=2)
    assert subspace.modes.shape == (COUNT, 1, 2)
    pieces = np.stack([which == 0, which == 1], axis=1).astype(float)
    basis = np.linalg.qr(subspace.modes[:, 0])[0]
    for piece in pieces.T:
        assert np.linalg.norm(basis.T @ piece) > 0.9 * np.linalg.norm(piece)


def test_patches_are_nested_and_fewer_than_gaussians():
    patches = make_patches(imaging(), Layout.of("pa"), 0, np.ones(len(mixture().sigma), bool))
    assert patches.fine.shape == (COUNT,)
    assert set(patches.fine) == set(range(len(patches.coarse)))
    assert patches.coarse.max() + 1 <= len(patches.coarse)


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("size", [1, 12, 72, 97])
@pytest.mark.parametrize("largest", [1.0, 1e4, 1e8])
def test_inverses_of_many_matrices_are_inverses_and_positive_definite(size, largest):
    """1 + a matrix of low rank, its eigenvalues up to `largest`, symmetric but for rounding."""
    rng = np.random.default_rng(size)
    basis = np.linalg.qr(rng.normal(size=(5, size, size)))[0]
    values = np.ones(size)
    values[: max(size // 4, 1)] += np.geomspace(1, largest, max(size // 4, 1))
    made = basis * values @ basis.transpose(0, 2, 1) + 1e-16 * largest * rng.normal(size=(5, size, size))
    expected = np.linalg.inv(made)
    found = subspace_fit._inverses(made)
    np.testing.assert_allclose(found, expected, atol=(1e-14 * largest + 1e-12) * np.abs(expected).max())
    assert np.linalg.eigvalsh(found).min() > 0


def test_what_rounding_has_made_indefinite_is_inverted_too():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 30, 30)))[0]
    made = basis * np.geomspace(1, 1e3, 30) @ basis.transpose(0, 2, 1)
    made[2] -= (1e-3 + np.linalg.eigvalsh(made[2]).min()) * np.eye(30)
    np.testing.assert_array_equal(subspace_fit._inverses(made), np.linalg.inv(made))
