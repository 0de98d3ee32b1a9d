"""The contrast transfer function."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics import ctf
from libhetero.physics.fourier import half_plane
from tests.making.optics import optics
from tests.reference import ctf as twin

PARAMETERS = optics(16_500.0, 3000.0, defocus_angle=0.6, b_factor=80.0)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"defocus_u": 8000.0, "defocus_v": 8000.0, "b_factor": 0.0},
        {"phase_shift": math.pi / 2, "scale": 0.7},
        {"voltage": 200.0, "spherical_aberration": 0.01, "amplitude_contrast": 0.07},
        {"defocus_u": -4000.0, "defocus_v": -5000.0, "defocus_angle": -1.2},
        {"magnification": np.array([[1.05, 0.03], [-0.02, 0.96]])},
        {"even_zernike": np.array([0.2, 30, -20, 15, 200, -300, 250, 120, -90.0])},
        {"magnification": np.array([[0.9, 0.0], [0.1, 1.1]]), "even_zernike": np.array([0.3, -25.0])},
    ],
)
def test_agrees_with_the_scalar_loop(change):
    params = dataclasses.replace(PARAMETERS, **change)
    expected = twin.ctf_image(dataclasses.asdict(params), 16, 2.5)
    np.testing.assert_allclose(ctf.ctf_at(params, half_plane(16, 2.5)), expected, atol=2e-4)


@pytest.mark.parametrize(("voltage", "expected"), [(300.0, 0.0196875), (200.0, 0.0250793)])
def test_wavelength_agrees_with_the_constants_of_nature(voltage, expected):
    assert twin.wavelength(voltage) == pytest.approx(expected, abs=1e-7)
    assert float(ctf.electron_wavelength(voltage)) == pytest.approx(expected, rel=1e-5)


def test_value_at_zero_frequency_is_the_amplitude_contrast():
    assert float(ctf.ctf_at(PARAMETERS, half_plane(8, 2.0))[0, 0]) == pytest.approx(0.1, abs=1e-6)


def test_underfocus_keeps_white_particles_white():
    """The first lobe of an underfocused CTF is positive."""
    radial = ctf.ctf_at(PARAMETERS, jnp.stack([jnp.linspace(0, 0.04, 9), jnp.zeros(9)], axis=-1))
    assert np.all(radial > 0)


def test_pure_amplitude_contrast_is_no_ctf():
    params = dataclasses.replace(
        PARAMETERS, defocus_u=0.0, defocus_v=0.0, spherical_aberration=0.0, amplitude_contrast=1.0, b_factor=0.0
    )
    np.testing.assert_allclose(ctf.ctf_at(params, half_plane(8, 2.0)), 1.0, atol=1e-6)


def test_astigmatism_is_largest_along_its_angle():
    """Along the angle the defocus is U, across it V."""
    for turn, defocus in ((0.0, PARAMETERS.defocus_u), (math.pi / 2, PARAMETERS.defocus_v)):
        angle = PARAMETERS.defocus_angle + turn
        at = jnp.array([math.cos(angle), math.sin(angle)]) * 0.11
        round_one = dataclasses.replace(PARAMETERS, defocus_u=defocus, defocus_v=defocus)
        assert float(ctf.ctf_at(PARAMETERS, at)) == pytest.approx(float(ctf.ctf_at(round_one, at)), abs=2e-4)


def test_relion_has_the_same_ctf():
    """Transform of relion_project's image of a point, RELION 3.1.3, box 16 of 4 Å, at (kx, ky) of the box."""
    params = dataclasses.replace(
        optics(9000.0, 600.0, defocus_angle=math.radians(35)),
        magnification=np.array([[1.05, 0.03], [-0.02, 0.96]]),
        even_zernike=np.array([0.3, 25, -18, 12, 400, -700, 500, 260, -190.0]),
    )
    theirs = {
        (0, 0): -0.162235,
        (3, 0): 0.992000,
        (1, 2): -0.980613,
        (2, 5): 0.541159,
        (3, -4): -0.740182,
        (6, -3): -0.324410,
        (7, 1): -0.956852,
    }
    found = ctf.ctf_at(params, np.array(list(theirs)) / 64)
    np.testing.assert_allclose(found, list(theirs.values()), atol=1e-4)


def test_odd_phase_agrees_with_the_scalar_loop():
    params = dataclasses.replace(
        PARAMETERS,
        magnification=np.array([[1.05, 0.03], [-0.02, 0.96]]),
        beam_tilt=np.array([2.5e-3, -1.5e-3]),
        odd_zernike=np.array([1, -2, 300, 0, 0, 250.0]),
    )
    frequencies = half_plane(16, 2.5).astype(float)
    for change in ({}, {"beam_tilt": None}, {"odd_zernike": None}, {"magnification": None}):
        some = dataclasses.replace(params, **change)
        plain = dataclasses.asdict(some)
        expected = [twin.odd_phase(plain, *at) for at in frequencies.reshape(-1, 2)]
        np.testing.assert_allclose(np.ravel(ctf.odd_phase(some, frequencies)), expected, rtol=1e-4, atol=1e-6)
    assert ctf.odd_phase(PARAMETERS, frequencies) == 0
