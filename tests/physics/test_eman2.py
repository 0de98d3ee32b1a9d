"""Agreement with CTF images and projections written by EMAN2."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import ctf, fourier, slices
from libhetero.physics.fourier import half_plane
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.records import Gaussians, Pose
from tests.making.optics import optics
from tests.reference import rotated_volume
from tests.reference.shared_data import read_mrc, shared_file

PIXEL, N = 3.0, 48


def read(name):
    return read_mrc("formats", "eman2", name)


def correlation(first, second):
    return np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]


def eman2_gaussians(broadening=0.0):
    """`vol_gmm.txt` in our units: amplitude squared, y and z negated, sigma from its exponent."""
    table = np.loadtxt(shared_file("formats", "eman2", "vol_gmm.txt"))
    sigma_voxels = N * np.sqrt(table[:, 4] * 1e-3 / (2 * np.pi**2))
    return Gaussians(
        position=jnp.asarray(table[:, :3] * [1, -1, -1] * N * PIXEL, jnp.float32),
        amplitude=jnp.asarray(table[:, 3] ** 2, jnp.float32),
        sigma=jnp.asarray(PIXEL * np.sqrt(sigma_voxels**2 + broadening), jnp.float32),
    )


def poses():
    entries = json.loads(shared_file("formats", "eman2", "transforms.json").read_text())
    for entry in entries:
        matrix = np.asarray(entry["matrix"], np.float32)
        yield Pose(rotation=jnp.asarray(matrix[:, :3]), shift=jnp.asarray(matrix[:2, 3] * PIXEL))


@pytest.mark.parametrize(("name", "weight"), [("amp", lambda c: c), ("sign", jnp.sign), ("abs", jnp.abs)])
def test_ctf_images(name, weight):
    values = json.loads(shared_file("formats", "eman2", "ctf_params.json").read_text())
    params = optics(
        defocus=1e4 * (values["defocus"] + values["dfdiff"] / 2),
        defocus_v=1e4 * (values["defocus"] - values["dfdiff"] / 2),
        defocus_angle=math.radians(values["dfang"]),
        voltage=values["voltage"],
        spherical_aberration=values["cs"],
        amplitude_contrast=values["ampcont"] / 100,
        b_factor=values["bfactor"],
    )
    after = read(f"ctf_{name}_after.mrc")
    transformed = fourier.fourier_image(read("ctf_before.mrc"))
    found = fourier.real_image(transformed * weight(ctf.ctf_at(params, half_plane(N, values["apix"]))), N)
    np.testing.assert_allclose(found, after, atol=4e-4 * after.std())


def test_the_gaussians_are_the_volume():
    assert correlation(gaussians_to_volume(eman2_gaussians(), N, PIXEL), read("vol.mrc")) > 0.9999999


def test_projections_are_ours_in_real_space():
    """EMAN2's standard projector rotates in real space by trilinear interpolation: so does the twin."""
    volume = read("vol.mrc")
    for pose, expected in zip(poses(), read("projs_standard.mrcs"), strict=True):
        shift = np.asarray(pose.shift) / PIXEL
        found = rotated_volume.project(volume, np.asarray(pose.rotation), shift)
        assert correlation(found, expected) > 0.999999


def test_gaussian_projections():
    """Trilinear interpolation widens a rotated Gaussian by the variance of its kernel, 1/6 voxel²."""

    @jax.jit
    def project(gaussians, pose):
        return fourier.real_image(project_gaussians(gaussians, pose, N, PIXEL), N)

    models = [eman2_gaussians(b) for b in (0.0, 1 / 6)]
    for pose, expected in zip(poses(), read("projs_standard.mrcs"), strict=True):
        sharp, wide = (project(gaussians, pose) for gaussians in models)
        assert correlation(sharp, expected) > 0.9995
        turned_about = np.abs(np.asarray(pose.rotation)).max(axis=1) > 0.99
        if turned_about.all():
            assert correlation(sharp, expected) > 0.9999999
        elif not turned_about.any():
            assert correlation(wide, expected) > 0.9999


def test_slices_of_the_volume():
    transform = jax.jit(slices.prepare_volume)(jnp.asarray(read("vol.mrc")))

    @jax.jit
    def project(pose):
        return fourier.real_image(slices.project_volume(transform, pose, N, PIXEL), N)

    for pose, expected in zip(poses(), read("projs_standard.mrcs"), strict=True):
        found = project(pose)
        assert correlation(found, expected) > 0.999
        assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=2e-3)
