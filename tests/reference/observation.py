"""How a particle's image comes about, one Fourier pixel at a time."""

import cmath
import math

import numpy as np

from tests.reference.ctf import ctf, odd_phase


def observed(central, frequencies, shift, params):
    """`central` (pixels,) of a molecule at the origin, at `frequencies` (pixels, 2) in 1/Å; `params` plain floats."""
    result = np.zeros(len(central), np.complex128)
    for i, (kx, ky) in enumerate(frequencies):
        ramp = cmath.exp(-2j * math.pi * (kx * shift[0] + ky * shift[1]))
        result[i] = ctf(params, kx, ky) * ramp * central[i]
    return result


def recorded(central, frequencies, shift, params):
    """`observed`, with the phase of beam tilt and odd Zernike terms."""
    result = observed(central, frequencies, shift, params)
    for i, (kx, ky) in enumerate(frequencies):
        result[i] *= cmath.exp(1j * odd_phase(params, kx, ky))
    return result
