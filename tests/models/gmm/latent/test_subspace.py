"""The latent that is solved for, and the subspace that it lives in."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.changes import Modes, nearest_pairs
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.normal_equations import About, Fields, Patches, normal_equations
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.posterior import draw
from libhetero.models.gmm.latent.subspace import Imaging, gauss_newton
from libhetero.models.gmm.latent.subspace_fit import find_subspaces
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
    modes = Modes.of(config, neutral, modes, nearest_pairs(mixture().position))
    displacement, amplitude = modes.tangents(z)
    jacobian = jax.jacfwd(modes.mixture)(z)
    if "p" in vary:
        np.testing.assert_allclose(displacement, jacobian.position, atol=1e-5)
    if "a" in vary:
        np.testing.assert_allclose(amplitude, jacobian.amplitude, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "vary, symmetry, nuisances",
    [
        ("p", "c1", None),
        ("a", "c1", Nuisances(0.3)),
        ("pa", "c1", Nuisances(0.2, 1.5, 0.05)),
        ("p", "c3", Nuisances(0.1, 0.5, 0.02)),
        ("pa", "d2", None),
    ],
)
def test_a_gauss_newton_step_minimises_the_linearised_posterior(vary, symmetry, nuisances):
    """Against the least-squares solution with a Jacobian from automatic differentiation."""
    config = GmmConfig(vary=vary)
    batch = jax.tree.map(lambda leaf: leaf[0], particles(1))
    pose, image = batch.pose, batch.images
    rng = np.random.default_rng(2)
    outputs = sum({"p": 3, "a": 1}[letter] for letter in vary)
    modes = jnp.asarray(rng.normal(size=(COUNT, outputs, 3)) * 0.1, jnp.float32)
    neutral = jax.tree.map(jnp.asarray, mixture())
    modes = Modes.of(config, neutral, modes, nearest_pairs(mixture().position))
    numbers = 0 if nuisances is None else nuisances.numbers
    z = jnp.array([0.1, 0.2, -0.1, 0.4, -0.2, 0.3, 0, 0, 0][: 3 + numbers])  # turns are added at the pose, unturned
    scale, weight = 2.0, weights(3.0)
    transfer = ctf_at(batch.ctf, half_plane(BOX, PIXEL)) * scale

    def whitened(z):
        whole = symmetric_copies(modes.mixture(z[:3]), symmetry_operators(symmetry))
        placed = pose if nuisances is None else nuisances.moved(pose, z[3:])
        plane = project_gaussians(whole, placed, BOX, PIXEL) * transfer
        plane = plane if nuisances is None else nuisances.contrast_of(z[3:]) * plane
        plane = plane * np.sqrt(2 * weight)
        return jnp.concatenate([jnp.real(plane).ravel(), jnp.imag(plane).ravel()])

    target = fourier_image(image) * np.sqrt(2 * weight)
    target = jnp.concatenate([jnp.real(target).ravel(), jnp.imag(target).ravel()])
    jacobian = np.asarray(jax.jacfwd(whitened)(z), np.float64)
    residual = np.asarray(target - whitened(z), np.float64)
    stacked = np.concatenate([jacobian, np.eye(len(z))])
    step = np.linalg.lstsq(stacked, np.concatenate([residual, -np.asarray(z)]), rcond=None)[0]
    found, precision = gauss_newton(
        imaging(3.0, scale, symmetry),
        Layout.of(vary),
        modes.mixture(z[:3]),
        modes.tangents(z[:3]),
        image,
        batch.observation,
        z,
        nuisances,
    )
    np.testing.assert_allclose(found, z + step, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(precision, jacobian.T @ jacobian + np.eye(len(z)), rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("symmetry, still", [("c1", 0), ("c3", 0), ("d2", 5)])
def test_normal_equations_are_those_of_nuisances_fields_and_patches(symmetry, still):
    """Against a Jacobian by automatic differentiation: two patches, a field, contrast, shift and rotation."""
    batch = particles(2)
    patch = np.repeat([0, -1, 1], [8, still, 12 - still])
    rng = np.random.default_rng(8)
    fields = Fields(*(rng.normal(size=shape).astype(np.float32) for shape in ((COUNT, 3, 1), (COUNT, 1))))
    seen = imaging(symmetry=symmetry)
    said = normal_equations(seen, batch, patch, Layout.of("pa"), fields=fields, nuisances=True)
    neutral = jax.tree.map(jnp.asarray, mixture())
    mobile = jnp.asarray(patch >= 0)

    def whitened(change, number):
        nuisance, field, change = change[:6], change[6], change[7:]
        moved = Gaussians(
            neutral.position
            + change[:6].reshape(3, 2).T[patch] * mobile[:, None]
            + fields.displacement[:, :, 0] * field,
            neutral.amplitude * (1 + change[6:][patch] * mobile + fields.amplitude[:, 0] * field),
            neutral.sigma,
        )
        moved, pose = symmetric_copies(moved, symmetry_operators(symmetry)), batch.pose.take(number)
        x, y, z = nuisance[3:]
        turned = jnp.eye(3) + jnp.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        pose = dataclasses.replace(pose, rotation=turned @ pose.rotation, shift=pose.shift + nuisance[1:3])
        plane = (1 + nuisance[0]) * project_gaussians(moved, pose, BOX, PIXEL)
        plane = plane * ctf_at(batch.ctf.take(number), half_plane(BOX, PIXEL)) * np.sqrt(2 * weights())
        return jnp.concatenate([jnp.real(plane).ravel(), jnp.imag(plane).ravel()])

    for number in range(2):
        target = fourier_image(batch.images[number]) * np.sqrt(2 * weights())
        target = jnp.concatenate([jnp.real(target).ravel(), jnp.imag(target).ravel()])
        jacobian = jax.jit(jax.jacfwd(lambda change, n=number: whitened(change, n)))(jnp.zeros(15))
        expected, scale = jacobian.T @ jacobian, jnp.linalg.norm(jacobian, axis=0)
        found = said.hessian[number]
        np.testing.assert_allclose(found / scale / scale[:, None], expected / scale / scale[:, None], atol=2e-3)
        slope = jacobian.T @ (target - whitened(jnp.zeros(15), number))
        np.testing.assert_allclose(
            said.gradient[number] / scale, slope / scale, atol=2e-3 * np.abs(slope / scale).max()
        )


def test_about_mixtures_that_changes_reach_linearly_the_particles_say_the_same():
    """Amplitudes are linear, so that H and g of the fields are those about the neutral mixture, at any numbers."""
    batch, patch = particles(2), np.repeat([0, 1], 10)
    rng = np.random.default_rng(8)
    amplitude = 0.2 * rng.normal(size=(COUNT, 2)).astype(np.float32)
    fields = Fields(np.zeros((COUNT, 3, 2), np.float32), amplitude)
    neutral = jax.tree.map(jnp.asarray, mixture())

    def at(z):
        factor = 1 + amplitude @ z
        moved = Gaussians(neutral.position, neutral.amplitude * factor, neutral.sigma)
        return moved, Fields(jnp.zeros((COUNT, 3, 2)), amplitude / factor[:, None])

    about = About(at, rng.normal(size=(2, 2)).astype(np.float32))
    far = normal_equations(imaging(), batch, patch, Layout.of("p"), about=about, nuisances=True)
    near = normal_equations(imaging(), batch, patch, Layout.of("p"), fields=fields, nuisances=True)
    assert far.fields == near.fields == 2 and far.columns == near.columns
    known = slice(6, 8)
    scale = np.abs(near.hessian[:, known, known]).max()
    np.testing.assert_allclose(far.hessian[:, known, known], near.hessian[:, known, known], atol=1e-4 * scale)
    scale = np.abs(near.gradient[:, known]).max()
    np.testing.assert_allclose(far.gradient[:, known], near.gradient[:, known], atol=1e-3 * scale)
    of_patches = near.hessian[:, 8:, 8:]
    assert np.abs(far.hessian[:, 8:, 8:] - of_patches).max() > 0.1 * of_patches.max()  # they are elsewhere


def test_draws_of_noise_say_as_much_as_their_hessian():
    """Their covariance is H."""
    patch = np.repeat(np.arange(4), 5)
    said = normal_equations(imaging(), particles(1), patch, Layout.of("a"), nuisances=True, draws=4000)
    scale = np.sqrt(np.diagonal(said.hessian[0]))
    found = np.cov(said.noise[0], rowvar=False)
    np.testing.assert_allclose(found / scale / scale[:, None], said.hessian[0] / scale / scale[:, None], atol=0.08)


def test_particles_without_weight_have_no_normal_equations():
    batch = particles(3)
    alone = dataclasses.replace(batch, weight=np.array([1, 0, 1], np.float32))
    patch = np.repeat([0, 1], 10)
    whole, some = (normal_equations(imaging(), sample, patch, Layout.of("pa")) for sample in (batch, alone))
    pairs = ((whole.hessian, some.hessian), (whole.gradient, some.gradient))
    for all_of_them, kept in pairs:
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


@pytest.fixture(scope="module")
def changing_particles() -> tuple:
    """Particles in which Gaussians 0-6 and 7-13 come and go, the piece of each Gaussian, and the noise."""
    count = 160
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
    return dataclasses.replace(batch, images=noisy.astype(np.float32)), which, noise


@pytest.mark.parametrize("letters", ["a", "pa"])
def test_pieces_that_come_and_go_span_the_subspace(letters, changing_particles):
    """Whether it is said or not that amplitudes change."""
    batch, which, noise = changing_particles
    seen = imaging(BOX**2 * noise**2)
    subspace = find_subspaces(seen, batch, Layout.of(letters))[0]
    assert subspace.layout == Layout.of("a")
    assert subspace.kinds == "aa" and subspace.p.max() < 1e-3
    assert subspace.modes.shape == (COUNT, 1, 2)
    pieces = np.stack([which == 0, which == 1], axis=1).astype(float)
    basis = np.linalg.qr(subspace.modes[:, 0])[0]
    for piece in pieces.T:
        assert np.linalg.norm(basis.T @ piece) > 0.9 * np.linalg.norm(piece)
    whole = subspace.in_layout(Layout.of("pa"))
    np.testing.assert_array_equal(whole.modes[:, 3:], subspace.modes)
    assert not whole.modes[:, :3].any()


@pytest.mark.parametrize("rank", [1, 3])
def test_a_number_that_is_asked_for_is_of_the_kind_that_is_found(rank, changing_particles):
    """Both kinds may change and presence alone does: the stronger piece, or both and one direction more."""
    batch, which, noise = changing_particles
    (subspace,) = find_subspaces(imaging(BOX**2 * noise**2), batch, Layout.of("pa"), rank)
    assert subspace.layout == Layout.of("a") and subspace.kinds == "a" * rank
    basis = np.linalg.qr(subspace.modes[:, 0])[0]
    if rank == 3:
        assert min(np.linalg.norm(basis.T @ (which == piece)) for piece in (0, 1)) > 0.9 * np.sqrt(7)


def test_patches_are_nested_and_fewer_than_gaussians():
    patches = Patches.of(mixture().position, np.ones(COUNT, bool), Layout.of("pa"), 0)
    assert patches.fine.shape == (COUNT,)
    assert set(patches.fine) == set(range(len(patches.coarse)))
    assert patches.coarse.max() + 1 <= len(patches.coarse)
    two = Patches(np.array([0, 1, -1, 2]), np.array([1, 0, 1]))
    np.testing.assert_array_equal(two.together, [1, 0, -1, 1])
    np.testing.assert_array_equal(two.copied(Layout.of("a"), 2) @ [7, 8, 1, 2], [7, 8, 2, 1, 2])
