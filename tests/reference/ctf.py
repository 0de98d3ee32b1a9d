"""The CTF of one particle, one Fourier pixel at a time."""

import math

import numpy as np

from tests.reference import zernike
from tests.reference.fourier import wave_numbers


def wavelength(kilovolts):
    """de Broglie, relativistic, from the constants of nature, in Å."""
    planck, mass, charge, light = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 299792458.0
    energy = charge * kilovolts * 1e3
    momentum = math.sqrt(2 * mass * energy * (1 + energy / (2 * mass * light**2)))
    return 1e10 * planck / momentum


def seen_at(p, fx, fy):
    """Where the optics see a pixel, by the magnification matrix."""
    m = p.get("magnification")
    return (fx, fy) if m is None else (m[0][0] * fx + m[0][1] * fy, m[1][0] * fx + m[1][1] * fy)


def odd_phase(p, fx, fy):
    """The phase that beam tilt (radians) and odd Zernike terms give a pixel."""
    x, y = seen_at(p, fx, fy)
    phase = zernike.odd_phase(p.get("odd_zernike"), x, y)
    if p.get("beam_tilt") is not None:
        along = p["beam_tilt"][0] * x + p["beam_tilt"][1] * y
        coma = p["spherical_aberration"] * 1e7 * wavelength(p["voltage"]) ** 2
        phase -= 2 * math.pi * coma * (x**2 + y**2) * along
    return phase


def exposure_filter(exposure, s, kilovolts):
    """What is left of the signal at s (1/Å) after an exposure (e⁻/Å², None for none), by the critical one."""
    if exposure is None or s == 0:
        return 1.0
    critical = 0.24499 * s**-1.6649 + 2.8141
    critical *= {300.0: 1.0, 200.0: 0.8, 250.0: 0.9, 100.0: 0.6}[kilovolts]
    return math.exp(-exposure / (2 * critical))


def ctf(p, fx, fy):
    """`p` holds plain floats in Å, radians, kV, mm, and lists of aberrations or None; fx and fy in 1/Å."""
    fx, fy = seen_at(p, fx, fy)
    s = math.hypot(fx, fy)
    angle = math.atan2(fy, fx)
    mean = (p["defocus_u"] + p["defocus_v"]) / 2
    half = (p["defocus_u"] - p["defocus_v"]) / 2
    defocus = mean + half * math.cos(2 * (angle - p["defocus_angle"]))
    length = wavelength(p["voltage"])
    aberration = p["spherical_aberration"] * 1e7
    phase = math.pi * length * defocus * s**2 - math.pi / 2 * aberration * length**3 * s**4
    phase += math.asin(p["amplitude_contrast"]) + p["phase_shift"]
    phase -= zernike.even_phase(p.get("even_zernike"), fx, fy)
    left = exposure_filter(p.get("exposure"), s, p["voltage"])
    return p["scale"] * math.sin(phase) * math.exp(-p["b_factor"] * s**2 / 4) * left


def ctf_image(p, n, pixel_size):
    result = np.zeros((n, n // 2 + 1))
    for row, ky in enumerate(wave_numbers(n)):
        for kx in range(n // 2 + 1):
            result[row, kx] = ctf(p, kx / (n * pixel_size), ky / (n * pixel_size))
    return result
