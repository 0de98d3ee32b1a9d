"""EMAN2's own projections at the poses we read from it, by a slow rotation of the map."""

import json

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from libhetero.io import ImageReader, read_gaussians, read_particles, read_volume
from tests.reference.shared_data import shared_file


@pytest.fixture(scope="module")
def particles():
    return read_particles(shared_file("formats", "eman2", "projs_standard.hdf"))


def test_poses_are_those_of_its_transforms(particles):
    with open(shared_file("formats", "eman2", "transforms.json")) as file:
        transforms = json.load(file)
    for i, transform in enumerate(transforms):
        matrix = np.array(transform["matrix"])
        np.testing.assert_allclose(particles.pose.rotation[i, :2], matrix[:2, :3], atol=1e-6)
        np.testing.assert_allclose(particles.pose.shift[i] / 3.0, matrix[:2, 3], atol=1e-6)
        assert np.linalg.det(particles.pose.rotation[i]) == pytest.approx(1), "mirrors made proper"
    assert np.abs(particles.pose.shift).max() > 10


def test_projections(particles):
    volume, _ = read_volume(shared_file("formats", "eman2", "vol.hdf"))
    images = ImageReader(particles).read(range(9))
    n = 48
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    for i, image in enumerate(images):
        shift = np.append(particles.pose.shift[i] / 3.0, 0)
        model = (np.stack([x, y, z], axis=-1) - shift) @ particles.pose.rotation[i]
        places = np.moveaxis(model[..., ::-1] + n // 2, -1, 0)
        projection = map_coordinates(volume, places, order=3).sum(axis=0)
        assert np.corrcoef(projection.ravel(), image.ravel())[0, 1] > 0.999


def test_gaussian_model(particles):
    """The blobs as EMAN2 wrote them, drawn at our positions, are its projections."""
    gaussians = read_gaussians(shared_file("formats", "eman2", "vol_gmm.txt"), 48, 3.0)
    np.testing.assert_allclose(gaussians.sigma, 1.8 * 3.0, rtol=1e-5)
    blobs = np.loadtxt(shared_file("formats", "eman2", "vol_blobs.txt"))
    np.testing.assert_allclose(gaussians.position, blobs[:, :3] * 3.0, atol=1e-4)
    np.testing.assert_allclose(gaussians.amplitude, blobs[:, 3], rtol=1e-4)
    axis = (np.arange(48) - 24) * 3.0
    for i, image in enumerate(ImageReader(particles).read(range(9))):
        placed = gaussians.position @ particles.pose.rotation[i].T
        placed = placed[:, :2] + particles.pose.shift[i]
        x, y = (np.exp(-((axis[:, None] - placed[:, k]) ** 2) / (2 * 5.4**2)) for k in (0, 1))
        drawn = np.einsum("yi,xi,i->yx", y, x, gaussians.amplitude)
        interpolated = i > 0  # EMAN2 rotated the map linearly, which smooths it
        correlation = np.corrcoef(drawn.ravel(), image.ravel())[0, 1]
        assert correlation > (0.9995 if interpolated else 0.99999)
