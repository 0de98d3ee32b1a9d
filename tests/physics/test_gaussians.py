"""Projection of Gaussian mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import gaussians as projector
from libhetero.physics import rotations, slices
from libhetero.physics.fourier import fourier_image, frequencies_2d, phase_ramp, real_image
from libhetero.physics.trigonometry import cosine_sine
from libhetero.records import Gaussians, Pose
from tests.making.mixtures import compact_mixture as mixture
from tests.making.poses import one_pose
from tests.reference import gaussians as twin
from tests.reference import rotations as rotation_twin

PIXEL = 2.0
N = 24


def project(gaussians, pose, n=N):
    return projector.project_gaussians(gaussians, pose, n, PIXEL)


def test_agrees_with_the_real_space_sum():
    gaussians, pose = mixture(), one_pose()
    expected = twin.project(
        *map(np.asarray, (gaussians.position, gaussians.amplitude, gaussians.sigma)),
        np.asarray(pose.rotation),
        np.asarray(pose.shift),
        N,
        PIXEL,
    )
    found = real_image(project(gaussians, pose), N)
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())
    np.testing.assert_allclose(project(gaussians, pose), fourier_image(expected), atol=5e-3)


def test_volume_agrees_with_the_real_space_sum():
    gaussians = mixture()
    expected = twin.volume(*map(np.asarray, (gaussians.position, gaussians.amplitude, gaussians.sigma)), N, PIXEL)
    found = projector.gaussians_to_volume(gaussians, N, PIXEL)
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())
    assert float(found.sum()) == pytest.approx(float(gaussians.amplitude.sum()), rel=1e-5)


def test_transform_is_that_of_the_map():
    """Every voxel, Nyquist planes too, and the octants it is made of."""
    gaussians = mixture()
    volume = projector.gaussians_to_volume(gaussians, N, PIXEL)
    transform = np.asarray(projector.transform_gaussians(gaussians, N, PIXEL))
    expected = np.fft.rfftn(
        np.fft.ifftshift(
            twin.volume(*map(np.asarray, (gaussians.position, gaussians.amplitude, gaussians.sigma)), N, PIXEL)
        )
    )
    np.testing.assert_allclose(transform, expected, atol=5e-3)
    np.testing.assert_allclose(np.fft.rfftn(np.fft.ifftshift(volume)), transform, atol=1e-3)
    octants = np.asarray(projector.transform_octants(gaussians, N, PIXEL))
    for z, y, x in ((3, 5, 2), (0, 4, 7), (11, 1, 0)):
        for a, b in np.ndindex(2, 2):
            voxel = transform[(-z if a else z), (-y if b else y), x]
            found = octants[z, 0, a, b, y, x] + 1j * octants[z, 1, a, b, y, x]
            assert found == pytest.approx(voxel, abs=1e-4)


def test_zero_frequency_is_the_total_amplitude():
    gaussians = mixture()
    centre = project(gaussians, one_pose())[0, 0]
    np.testing.assert_allclose(centre, complex(gaussians.amplitude.sum()), rtol=1e-6)


def test_centred_delta_stays_centred_under_any_rotation():
    one = Gaussians(jnp.zeros((1, 3)), jnp.ones(1), jnp.full(1, 0.01))
    rotation = rotations.random_rotations(jax.random.key(0), (5,))
    planes = jax.jit(jax.vmap(lambda r: project(one, Pose(rotation=r, shift=jnp.zeros(2)))))(rotation)
    np.testing.assert_allclose(planes, np.ones((5, N, N // 2 + 1)), atol=2e-3)


def test_shift_is_a_phase_ramp():
    gaussians, pose = mixture(), one_pose()
    centred = project(gaussians, Pose(rotation=pose.rotation, shift=jnp.zeros(2)))
    ramp = phase_ramp(jnp.asarray(frequencies_2d(N)) / PIXEL, pose.shift)
    inside = np.s_[:, : N // 2]
    moved = project(gaussians, pose)
    rows = np.arange(N) != N // 2
    np.testing.assert_allclose(moved[inside][rows], (centred * ramp)[inside][rows], atol=2e-4)


def test_rotating_the_mixture_is_rotating_the_projection():
    """Projecting Q·model at R equals projecting the model at R Q."""
    gaussians, pose = mixture(), one_pose()
    turn = jnp.asarray(rotation_twin.from_euler(0.4, 1.3, -0.9), jnp.float32)
    turned = Gaussians(rotations.rotate_points(turn, gaussians.position), gaussians.amplitude, gaussians.sigma)
    combined = Pose(rotation=jnp.matmul(pose.rotation, turn, precision="highest"), shift=pose.shift)
    np.testing.assert_allclose(project(turned, pose), project(gaussians, combined), atol=2e-4)


def test_in_plane_rotation_by_a_quarter_turns_the_image():
    gaussians = mixture()
    upright = real_image(project(gaussians, Pose(rotation=jnp.eye(3), shift=jnp.zeros(2))), N)
    quarter = jnp.asarray(rotation_twin.about_z(np.pi / 2), jnp.float32)
    turned = real_image(project(gaussians, Pose(rotation=quarter, shift=jnp.zeros(2))), N)
    # Passive Rz(90°): x' = y, y' = -x, so turned(y', x') = upright(y = x', x = -y').
    axis = np.arange(1, N) - N // 2
    expected = np.asarray(upright)[axis[None, :] + N // 2, -axis[:, None] + N // 2]
    np.testing.assert_allclose(np.asarray(turned)[1:, 1:], expected, atol=1e-4)


def test_parseval_of_one_gaussian():
    """∫ρ² of a projected Gaussian is A² / 4πσ²."""
    one = Gaussians(jnp.zeros((1, 3)), jnp.full(1, 2.0), jnp.full(1, 4.0))
    image = real_image(project(one, Pose(rotation=jnp.eye(3), shift=jnp.zeros(2))), N)
    assert float(jnp.sum(image**2)) / PIXEL**2 == pytest.approx(4 / (4 * np.pi * 16), rel=1e-4)


def test_gradient_agrees_with_finite_differences():
    gaussians, pose = mixture(3), one_pose()
    target = fourier_image(np.random.default_rng(5).normal(size=(N, N)).astype(np.float32))

    @jax.jit
    def score(position):
        moved = Gaussians(position, gaussians.amplitude, gaussians.sigma)
        return jnp.sum(jnp.real(project(moved, pose) * jnp.conj(target)))

    gradient = jax.grad(score)(gaussians.position)
    step = 0.05
    for place in [(0, 0), (1, 1), (2, 2)]:
        nudge = jnp.zeros((3, 3)).at[place].set(step)
        slope = (score(gaussians.position + nudge) - score(gaussians.position - nudge)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(float(slope), rel=2e-2, abs=0.3)


def test_repeated_rows_have_the_derivatives_of_a_broadcast():
    """Forwards and backwards, for several particles."""
    random = np.random.default_rng(6)
    values, tangent = jnp.asarray(random.normal(size=(2, 3, 5)), jnp.float32)
    cotangent = jnp.asarray(random.normal(size=(3, 4, 5)), jnp.float32)
    own = jax.vmap(lambda row: projector._repeat(row, 4))
    plain = jax.vmap(lambda row: jnp.broadcast_to(row, (4, 5)))
    for function in (jax.jit(own), own):
        for found, expected in zip(
            jax.jvp(function, (values,), (tangent,)), jax.jvp(plain, (values,), (tangent,)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        back, expected = (jax.vjp(one, values)[1](cotangent)[0] for one in (function, plain))
        np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_plain_tables(monkeypatch):
    """Of the mixture and of the pose, with a pixel size that is traced."""
    gaussians, pose = mixture(), one_pose()
    target = fourier_image(np.random.default_rng(7).normal(size=(N, N)).astype(np.float32))

    def score(gaussians, pose, pixel_size):
        plane = projector.project_gaussians(gaussians, pose, N, pixel_size)
        return jnp.sum(jnp.real(plane * jnp.conj(target)))

    found = jax.jit(jax.grad(score, argnums=(0, 1, 2)))(gaussians, pose, PIXEL)
    monkeypatch.setattr(projector, "_repeat", lambda values, rows: values)
    jax.clear_caches()
    expected = jax.jit(jax.grad(score, argnums=(0, 1, 2)))(gaussians, pose, PIXEL)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-6 * float(np.abs(other).max()))


def test_cosine_and_sine_of_turns():
    turns = np.linspace(-7.3, 7.3, 1001)
    cosine, sine = cosine_sine(jnp.asarray(turns, jnp.float32))
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), atol=4e-6)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), atol=4e-6)
    reduced = np.linspace(-0.5, 0.5, 1001).astype(np.float32)
    cosine, sine = cosine_sine(jnp.asarray(reduced))
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * reduced.astype(float)), atol=6e-7)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * reduced.astype(float)), atol=6e-7)


def test_jit_vmap_over_particles():
    gaussians = mixture()
    poses = [one_pose(seed) for seed in range(3)]
    stacked = Pose(rotation=jnp.stack([p.rotation for p in poses]), shift=jnp.stack([p.shift for p in poses]))
    batched = jax.jit(jax.vmap(lambda pose: project(gaussians, pose)))(stacked)
    for pose, plane in zip(poses, batched, strict=True):
        np.testing.assert_allclose(plane, project(gaussians, pose), atol=1e-5)


def test_a_magnification_moves_gaussians_as_it_stretches_slices():
    """Widths stay round, which a magnification of some per cent hardly changes."""
    gaussians, pose = mixture(), one_pose(3)
    m = jnp.array([[1.04, 0.02], [-0.01, 0.97]])
    stretched = jnp.concatenate([m.T @ pose.rotation[:2], pose.rotation[2:]])
    seen = Pose(rotation=stretched, shift=pose.shift)
    transform = slices.prepare_volume(projector.gaussians_to_volume(gaussians, N, PIXEL))
    expected = np.ravel(real_image(slices.project_volume(transform, seen, N, PIXEL), N))
    found, plain = (np.ravel(real_image(project(gaussians, one), N)) for one in (seen, pose))
    assert 1 - np.corrcoef(found, expected)[0, 1] < 0.35 * (1 - np.corrcoef(plain, expected)[0, 1])
