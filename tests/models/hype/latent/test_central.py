"""Low rings as central slices: the whitened image is the transfer times the volume's slice."""

import dataclasses

import jax
import numpy as np

from libhetero.models.hype.latent.central import central_slices, disc_pixels
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import transfer
from libhetero.records import Pose
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture


def test_each_pixel_is_one_of_k_and_minus_k_and_the_lowest_come_first():
    pixels = disc_pixels(16, 5)
    half = 9
    found = [(pixel % half, (pixel // half + 8) % 16 - 8) for pixel in pixels]
    radius = np.hypot(*np.transpose(found))
    assert len(set(found)) == len(found) and not {(-x, -y) for x, y in found} & set(found)
    assert np.all(np.diff(radius) >= -1e-9) and radius[0] > 0 and radius[-1] <= 5
    assert 2 * len(found) + 1 == sum(x * x + y * y <= 25 for x in range(-8, 8) for y in range(-8, 8))


def test_slices_are_transfer_times_the_projection_at_the_origin_over_the_noise():
    batch = particles(noise=0)
    noise = np.linspace(1, 3, BOX // 2 + 1).astype(np.float32)
    found = central_slices(batch, BOX, PIXEL, 5, noise)
    pixels = disc_pixels(BOX, 5)
    frequencies = found.frequencies / np.float32(BOX * PIXEL)
    deviation = np.sqrt(noise)[np.rint(np.linalg.norm(found.frequencies, axis=1)).astype(int)]
    for place in range(3):
        observation = jax.tree.map(lambda leaf, place=place: leaf[place], batch.observation)
        centred = Pose(rotation=observation.pose.rotation, shift=np.zeros(2, np.float32))
        projection = np.asarray(project_gaussians(mixture(), centred, BOX, PIXEL)).reshape(-1)[pixels] / BOX
        passed = np.asarray(transfer(observation, frequencies)) / deviation
        np.testing.assert_allclose(found.transfer[place], passed, atol=1e-5)
        np.testing.assert_allclose(found.image[place], passed * projection, atol=2e-3 * abs(projection).max())


def test_padding_says_nothing_and_lower_rings_are_the_first_pixels():
    batch = particles()
    weight = np.array(batch.weight)
    weight[1] = 0
    found = central_slices(dataclasses.replace(batch, weight=weight), BOX, PIXEL, 6, np.ones(BOX // 2 + 1))
    assert not found.image[1].any() and not found.transfer[1].any() and found.image[0].any()
    low = found.within(3)
    assert low.ring == 3 and len(low) == len(found)
    np.testing.assert_array_equal(low.image, found.image[:, : low.image.shape[1]])
    np.testing.assert_array_equal(found.take(np.array([2, 0])).rotation, found.rotation[[2, 0]])
