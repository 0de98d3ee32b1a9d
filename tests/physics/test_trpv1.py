"""Ten real TRPV1 particles against projections of their map, through reading, CTF and slices.

Correlations are taken inside a disc of 22 pixels. With the CTF of docs/conventions.md (+w at DC)
they are +0.17 to +0.28 at the given poses: the extracted particles are white. With a CTF of the
opposite sign (-w at DC, as in programs that expect dark protein) the same numbers read -0.17 to
-0.28 and the stack counts as inverted.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.io import ImageReader, read_particles, read_volume
from libhetero.physics import ctf, fourier, slices
from libhetero.physics.fourier import half_plane
from libhetero.physics.rotations import random_rotations
from libhetero.records import Pose
from tests.reference.shared_data import shared_file

N = 48


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """The set as the star file names it: its stack goes by another name there."""
    folder = tmp_path_factory.mktemp("trpv1")
    stack = shared_file("formats", "relion31", "trpv1_small_stack.mrcs")
    (folder / "batch_0_restacked.mrc").symlink_to(stack)
    star = shared_file("formats", "relion31", "trpv1_small_stack.star")
    return read_particles(star, datadir=folder)


@pytest.fixture(scope="module")
def images(particles):
    return ImageReader(particles).read(np.arange(len(particles)))


def projections(particles, rotation, pixel_size):
    """Real-space projections with CTF at the given shifts."""
    volume, _ = read_volume(shared_file("formats", "relion31", "trpv1_volume.mrc"))
    transform = jax.jit(slices.prepare_volume)(jnp.asarray(volume))

    def one(pose, params):
        plane = slices.project_volume(transform, pose, N, pixel_size)
        return fourier.real_image(plane * ctf.ctf_at(params, half_plane(N, pixel_size)), N)

    pose = Pose(rotation=jnp.asarray(rotation), shift=jnp.asarray(particles.pose.shift))
    params = jax.tree.map(jnp.asarray, particles.ctf)
    return np.asarray(jax.jit(jax.vmap(one))(pose, params))


def disc_correlations(first, second):
    axis = np.arange(N) - N // 2
    disc = np.hypot(axis[:, None], axis[None, :]) < 22
    return np.array([np.corrcoef(a[disc], b[disc])[0, 1] for a, b in zip(first, second, strict=True)])


def test_given_poses_correlate_and_random_ones_do_not(particles, images):
    pixel_size = particles.uniform_pixel_size()
    assert pixel_size == pytest.approx(4.88)
    given = disc_correlations(projections(particles, particles.pose.rotation, pixel_size), images)
    assert np.all((given > 0.17) & (given < 0.28))
    random = random_rotations(jax.random.key(1), (len(particles),))
    at_random = disc_correlations(projections(particles, random, pixel_size), images)
    assert np.all(np.abs(at_random) < 0.14)


def test_shifts_are_right_to_the_pixel(particles, images):
    """Cross-correlation peaks in the middle for every particle."""
    pixel_size = particles.uniform_pixel_size()
    for projection, image in zip(projections(particles, particles.pose.rotation, pixel_size), images, strict=True):
        cross = np.fft.fft2(image) * np.conj(np.fft.fft2(projection))
        cross[0, 0] = 0
        peak = np.fft.fftshift(np.fft.ifft2(cross).real)
        assert np.unravel_index(peak.argmax(), peak.shape) == (N // 2, N // 2)
