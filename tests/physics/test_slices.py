"""Central slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import slices
from libhetero.physics.fourier import crop_fourier_image, hermitian_nyquist, real_image
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.records import Pose
from tests.making.mixtures import compact_mixture as mixture
from tests.making.poses import one_pose
from tests.reference import rotations as rotation_twin
from tests.reference import slices as twin

N, PIXEL = 24, 2.0


def correlation(first, second):
    first, second = np.ravel(first), np.ravel(second)
    return np.corrcoef(first, second)[0, 1]


def complex_grid(padded, seed=0):
    random = np.random.default_rng(seed)
    shape = (padded, padded, padded // 2 + 1)
    return random.normal(size=shape) + 1j * random.normal(size=shape)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agrees_with_the_trilinear_loop(seed):
    n, padded = 8, 16
    # The twin reads k and -k from one Hermitian grid.
    transform = np.asarray(slices.prepare_volume(np.random.default_rng(seed).normal(size=(n, n, n))))
    rotation = one_pose(seed).rotation
    expected = twin.central_slice(transform, np.asarray(rotation, np.float64), n)
    found = slices.central_slice(jnp.asarray(transform), rotation, n)
    assert transform.shape[0] == padded
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_unrotated_slice_is_the_projection_along_z():
    volume = gaussians_to_volume(mixture(), N, PIXEL)
    pose = Pose(rotation=jnp.eye(3), shift=jnp.zeros(2))
    found = real_image(slices.project_volume(slices.prepare_volume(volume), pose, N, PIXEL), N)
    # Here every sample falls on a grid point, where the kernel's correction is one too many: a
    # worst case, 1 / sinc² along each axis of what generic rotations gain.
    assert correlation(found, volume.sum(axis=0)) > 0.999
    np.testing.assert_allclose(found, volume.sum(axis=0), atol=0.05 * float(found.max()))


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_agrees_with_the_gaussian_projector(seed):
    gaussians, pose = mixture(), one_pose(seed)
    transform = slices.prepare_volume(gaussians_to_volume(gaussians, N, PIXEL))
    found = real_image(slices.project_volume(transform, pose, N, PIXEL), N)
    expected = real_image(project_gaussians(gaussians, pose, N, PIXEL), N)
    assert correlation(found, expected) > 0.9995
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=1e-4)


@pytest.mark.parametrize("kept", [8, 16, 22, N])
def test_what_cropping_keeps_is_made_alone(kept):
    transform, pose = slices.prepare_volume(gaussians_to_volume(mixture(), N, PIXEL)), one_pose(1)
    whole = slices.project_volume(transform, pose, N, PIXEL)
    expected = crop_fourier_image(whole, kept) / (kept / N) ** 2
    found = slices.project_volume(transform, pose, N, PIXEL, kept)
    assert found.shape == (kept, kept // 2 + 1)
    if kept < N:
        found = hermitian_nyquist(found, kept)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(np.abs(whole).max()))


def test_adjoint_in_real_space():
    """⟨P v, u⟩ = ⟨v, P* u⟩ from real volume to real image, through every step of the chain."""
    n = 8
    random = np.random.default_rng(8)
    volume = jnp.asarray(random.normal(size=(n, n, n)), jnp.float32)
    image = jnp.asarray(random.normal(size=(n, n)), jnp.float32)
    pose = one_pose()

    @jax.jit
    def project(v):
        return real_image(slices.project_volume(slices.prepare_volume(v), pose, n, 1.0), n)

    forward, transpose = jax.vjp(project, volume)
    assert float(jnp.vdot(forward, image)) == pytest.approx(float(jnp.vdot(volume, transpose(image)[0])), rel=1e-3)


def test_centred_delta_stays_centred_under_any_rotation():
    volume = jnp.zeros((N, N, N)).at[N // 2, N // 2, N // 2].set(1.0)
    transform = slices.prepare_volume(volume)
    for seed in range(4):
        plane = slices.central_slice(transform, one_pose(seed).rotation, N)
        image = np.asarray(real_image(plane, N))
        assert np.unravel_index(image.argmax(), image.shape) == (N // 2, N // 2)
        kept = np.abs(np.asarray(plane)) > 0
        np.testing.assert_allclose(np.asarray(plane)[kept], 1.0, atol=1e-5)


def test_friedels_law():
    """Columns kx = 0 hold k and -k: conjugates of each other for a real volume."""
    transform = slices.prepare_volume(np.random.default_rng(10).normal(size=(N, N, N)))
    column = np.asarray(slices.central_slice(transform, one_pose().rotation, N))[:, 0]
    mirror = (-np.arange(N)) % N
    keep = np.arange(N) != N // 2
    np.testing.assert_allclose(column[keep], np.conj(column[mirror])[keep], atol=1e-3)


def test_opposite_views_are_mirror_images():
    """Turning by 180° about x looks from behind: y is inverted."""
    transform = slices.prepare_volume(gaussians_to_volume(mixture(), N, PIXEL))
    rotation = one_pose().rotation
    behind = jnp.asarray(rotation_twin.about_x(np.pi), jnp.float32) @ rotation
    front, back = (np.asarray(real_image(slices.central_slice(transform, r, N), N)) for r in (rotation, behind))
    np.testing.assert_allclose(back[1:], front[1:][::-1], atol=1e-3)


def test_hermitian_plane_makes_the_grid_that_of_a_real_volume():
    padded = 8
    grid = slices.hermitian_plane(jnp.asarray(complex_grid(padded), jnp.complex64))
    volume = jnp.fft.irfftn(grid, s=(padded,) * 3)
    again = jnp.fft.rfftn(volume)
    np.testing.assert_allclose(again[:, :, 0], grid[:, :, 0], atol=1e-4)


def test_a_stretched_slice_agrees_with_the_trilinear_loop_and_ends_at_the_sphere():
    """What a magnification makes of a rotation; beyond the volume's Nyquist frequency nothing is known."""
    n, stretch = 8, np.array([[1.2, 0.1, 0], [-0.05, 0.9, 0], [0, 0, 1]])
    transform = np.asarray(slices.prepare_volume(np.random.default_rng(4).normal(size=(n, n, n))))
    rotation = stretch.T @ np.asarray(one_pose(4).rotation, np.float64)
    expected = twin.central_slice(transform, rotation, n)
    ky, kx = np.meshgrid(np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1), indexing="ij")
    beyond = np.linalg.norm(np.stack([kx, ky], -1) @ rotation[:2], axis=-1) > n / 2
    expected[beyond] = 0
    found = slices.central_slice(jnp.asarray(transform), jnp.asarray(rotation, jnp.float32), n)
    assert 0 < beyond.sum() < beyond.size / 2
    np.testing.assert_allclose(found, expected, atol=2e-3)
