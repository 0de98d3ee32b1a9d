"""The contrast transfer function."""

import dataclasses
import math

import jax
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
        {"exposure": 61.5, "scale": 0.5},
        {"exposure": 20.0, "voltage": 200.0, "magnification": np.array([[1.05, 0.03], [-0.02, 0.96]])},
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


@pytest.mark.parametrize("module", [jnp, np])
@pytest.mark.parametrize("voltage", [300.0, 250.0, 200.0, 100.0])
def test_what_an_exposure_leaves_agrees_with_the_scalar_loop(module, voltage):
    radii = np.array([0.0, 0.004, 0.02, 0.1, 0.25, 0.5])
    at = np.stack([0.6 * radii, -0.8 * radii], axis=-1)
    for exposure in (0.0, 1.5, 60.0, 180.0):
        expected = [twin.exposure_filter(exposure, s, voltage) for s in radii]
        found = ctf.exposure_filter(exposure, at, voltage, module)
        np.testing.assert_allclose(found, expected, rtol=2e-5)
        np.testing.assert_array_equal(found, ctf.exposure_filter(exposure, -at, voltage, module))


def test_the_critical_exposure_is_the_published_one():
    """Where the exposure is the critical one, e^(-1/2) is left: 2.8141 + 0.24499 · 10^1.6649 e⁻/Å² at 10 Å."""
    assert float(ctf.exposure_filter(14.1397, jnp.array([0.1, 0.0]), 300.0)) == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_less_is_left_at_finer_detail_and_after_more_exposure():
    radii = jnp.linspace(0, 0.4, 33)
    at = jnp.stack([radii, jnp.zeros(33)], axis=-1)
    left = ctf.exposure_filter(jnp.array([3.0, 30.0, 120.0])[:, None], at, 300.0)
    assert left.shape == (3, 33) and np.all(left[:, 0] == 1) and np.all(left > 0)
    assert np.all(np.diff(left, axis=1) < 0) and np.all(np.diff(left[:, 1:], axis=0) < 0)


def test_the_gradient_by_frequency_voltage_and_exposure_is_finite_everywhere():
    frequencies = half_plane(8, 2.0)
    by = jax.grad(lambda n, at, volts: jnp.sum(ctf.exposure_filter(n, at, volts)), argnums=(0, 1, 2))
    found = by(jnp.float32(40.0), jnp.asarray(frequencies), jnp.float32(300.0))
    assert all(np.isfinite(one).all() for one in found)
    np.testing.assert_array_equal(found[1][0, 0], 0.0)
    assert float(found[0]) < 0 < float(found[2])


def test_no_exposure_is_the_ctf_as_it_was_and_none_received_is_the_same():
    """To the bit, for what states none: `exposure` is then no part of what is computed."""
    frequencies = half_plane(16, 2.5)
    plain = ctf.ctf_at(PARAMETERS, frequencies)
    np.testing.assert_array_equal(ctf.ctf_at(dataclasses.replace(PARAMETERS, exposure=0.0), frequencies), plain)
    without = str(jax.make_jaxpr(lambda defocus: ctf.ctf_at(optics(1e4, 0.0), frequencies) * defocus)(1.0))
    assert "pow" not in without.replace("integer_pow", "")


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
