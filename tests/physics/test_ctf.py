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
