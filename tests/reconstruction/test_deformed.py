"""Backprojection of particles that move, each put back through its own displacement field."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.metrics.fsc import masked_fsc
from libhetero.physics.fourier import fourier_image, frequencies_2d, half_plane, hermitian_weight, real_image
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.physics.masks import soft_sphere
from libhetero.physics.observation import observed
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.reconstruction.backproject import reconstruct
from libhetero.reconstruction.deformed import Deformation, Moving, add_difference, carried, no_difference
from libhetero.records import Observation, Pose
from tests.making.images import batch_of
from tests.making.mixtures import gaussians, mixture
from tests.making.optics import optics
from tests.making.poses import poses

N, PIXEL, COUNT = 16, 4.0, 600
MIXTURE = mixture(30, spread=6, amplitude=1, sigma=4.5)
MASK = np.asarray(soft_sphere(N, 6, 1))  # all of the molecule, wherever it goes


@functools.cache
def turns():
    """A turn of each particle, by 11 degrees or so, and how far it goes besides, Å."""
    random = np.random.default_rng(3)
    axis, angle = random.normal(size=(COUNT, 3)), random.normal(0, 0.2, COUNT)
    return np.asarray(axis_angle_to_matrix(axis, angle)), random.normal(0, 3, (COUNT, 3)).astype(np.float32)


def gone(position):
    """Where places of the molecule are in each particle."""
    rotation, step = turns()
    return np.einsum("pcd,gd->pgc", rotation, position) + step[:, None]


@functools.cache
def seen():
    """Images of the mixture, in each as it has turned there."""
    pose, ctf = poses(COUNT), optics(np.random.default_rng(1).uniform(8e3, 2e4, COUNT).astype(np.float32))
    amplitude, sigma = (np.tile(values, (COUNT, 1)) for values in (MIXTURE.amplitude, MIXTURE.sigma))
    moved = gaussians(gone(MIXTURE.position), amplitude, sigma)

    def image(mixture, pose, one):
        projection = project_gaussians(mixture, pose, N, PIXEL)
        return real_image(observed(projection, Observation(pose=pose, ctf=one), half_plane(N, PIXEL)), N)

    return batch_of(np.asarray(jax.jit(jax.vmap(image))(moved, pose, ctf)), pose, ctf)


@functools.cache
def moving():
    return Moving.of(MIXTURE.position, MASK, PIXEL)


def deformation(displacement):
    return Deformation(moving(), lambda index: displacement[index])


def agreement(volume, other):
    return np.corrcoef(volume[MASK > 0.5], other[MASK > 0.5])[0, 1]


def test_particles_at_rest_are_backprojected_as_ever():
    still = deformation(np.zeros((COUNT, 30, 3), np.float32))
    found, plain = reconstruct([seen()], N, PIXEL, deformation=still), reconstruct([seen()], N, PIXEL)
    np.testing.assert_array_equal(found.volume, plain.volume)
    np.testing.assert_array_equal(found.half_maps, plain.half_maps)


def test_a_molecule_that_moves_as_a_whole_is_as_with_poses_that_follow_it():
    """x → Q x + s seen at (R, t) is x seen at (R Q, t + R s): maps, half-maps and their scale are the same."""
    batch, (rotation, step) = seen(), turns()
    own = np.einsum("pcd,pde->pce", batch.pose.rotation, rotation)
    shift = batch.pose.shift + np.einsum("pcd,pd->pc", batch.pose.rotation, step)[:, :2]
    followed = dataclasses.replace(batch, pose=Pose(rotation=own.astype(np.float32), shift=shift.astype(np.float32)))
    expected = reconstruct([followed], N, PIXEL)
    displacement = (gone(MIXTURE.position) - MIXTURE.position).astype(np.float32)
    found = reconstruct([batch], N, PIXEL, deformation=deformation(displacement))
    plain = reconstruct([batch], N, PIXEL)
    truth = np.asarray(gaussians_to_volume(MIXTURE, N, PIXEL))
    assert agreement(found.volume, expected.volume) > 0.998 > agreement(plain.volume, expected.volume) + 0.008
    inside = MASK > 0.99
    largest = float(expected.volume.max())
    np.testing.assert_allclose(found.volume[inside], expected.volume[inside], atol=0.05 * largest)
    for half in range(2):
        assert agreement(found.half_maps[half], expected.half_maps[half]) > 0.997
    true, moved, smeared = (masked_fsc(one.volume, truth, MASK) for one in (expected, found, plain))
    assert true[5] > moved[5] > 0.99 and smeared[5] < 0.96 and moved[7] > 2 * smeared[7]


@pytest.mark.parametrize("place", [0, 5])
def test_adjoint_of_a_projection_along_displaced_lines(place):
    """⟨C A v, X⟩ = ⟨v, A* C X⟩ for point masses v at the voxels, each where it has gone; at rest as well."""
    random = np.random.default_rng(place)
    batch, there = seen(), moving()
    images = random.normal(size=batch.images.shape).astype(np.float32)
    batch = dataclasses.replace(batch, images=images, weight=(np.arange(COUNT) == place).astype(np.float32))
    displacement = random.normal(0, 3, (COUNT, 30, 3)).astype(np.float32)
    total = add_difference(no_difference(there), there, batch, displacement, jnp.ones(COUNT, jnp.int32), PIXEL)
    assert not np.any(np.asarray(total)[:, 0]), "all images are of the other half-set"
    mass = random.normal(size=there.presence.shape).astype(np.float32)
    backward = float(np.sum(mass * np.asarray(total)[:, 1]))
    step = np.einsum("cvk,cvkd->cvd", there.share, displacement[place][there.neighbour])
    particle = jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), batch)

    def forward(position):
        amplitude = (mass * there.presence).ravel()
        points = gaussians(position.reshape(-1, 3), amplitude, np.zeros(len(amplitude)))
        plane = project_gaussians(points, particle.pose, N, PIXEL)
        return observed(plane, particle.observation, half_plane(N, PIXEL))

    inside = np.linalg.norm(np.rint(frequencies_2d(N) * N), axis=-1) < N / 2
    difference = forward(there.place + step) - forward(there.place)
    image = fourier_image(particle.images)
    product = float(jnp.sum(inside * hermitian_weight(N) * jnp.real(jnp.conj(image) * difference))) / N**2
    size = float(jnp.sqrt(jnp.sum(inside * jnp.abs(difference) ** 2) * jnp.sum(inside * jnp.abs(image) ** 2))) / N**2
    assert product == pytest.approx(backward, abs=0.012 * size)
    assert abs(product) > 0.02 * size, "the products tell nothing"


def test_displacements_are_carried_on_as_the_affine_field_that_they_are():
    """Between Gaussians and a little beyond them; and where there are few, or all lie on a line, as their mean."""
    random = np.random.default_rng(2)
    position, matrix, step = random.normal(0, 10, (300, 3)), random.normal(0, 0.2, (3, 3)), random.normal(size=3)
    place = position[:50] + random.normal(0, 3, (50, 3))
    neighbour, share = carried(position, place)
    found = np.einsum("pk,pkc->pc", share, (position @ matrix + step)[neighbour])
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-5)
    error, nearest = (np.abs(one - place @ matrix - step) for one in (found, (position @ matrix + step)[:50]))
    assert error.max() < 0.4 and np.median(error) < 0.03 and np.median(nearest) > 0.3
    one = carried(position[:1], place)
    np.testing.assert_allclose(one[1], 1)
    line = np.outer(np.arange(20.0), [1, 0, 0])
    neighbour, share = carried(line, np.array([[5.2, 3.0, 0.0]]))
    assert np.abs(share).max() < 1 and share @ line[neighbour[0], 0] == pytest.approx(5.2, abs=0.3)


def test_only_what_moves_is_moved():
    """Outside of the mask the map is that of particles at rest; half of it has half of both."""
    batch = seen()
    displacement = (gone(MIXTURE.position) - MIXTURE.position).astype(np.float32)
    there = moving()
    faint = dataclasses.replace(there, presence=0.5 * there.presence)
    whole, half, rest = (
        np.asarray(reconstruct([batch], N, PIXEL, deformation=one).half_maps[0])
        for one in (
            deformation(displacement),
            Deformation(faint, lambda index: displacement[index]),
            deformation(0 * displacement),
        )
    )
    np.testing.assert_allclose(half, 0.5 * (whole + rest), atol=1e-3 * whole.max())
