"""How a particle's image comes about, one Fourier pixel at a time."""

import cmath
import math

import numpy as np

from tests.reference.ctf import ctf


def observed(central, frequencies, shift, params):
    """`central` (pixels,) of a molecule at the origin, at `frequencies` (pixels, 2) in 1/Å; `params` plain floats."""
    result = np.zeros(len(central), np.complex128)
    for i, (kx, ky) in enumerate(frequencies):
        ramp = cmath.exp(-2j * math.pi * (kx * shift[0] + ky * shift[1]))
        result[i] = ctf(params, kx, ky) * ramp * central[i]
    return result
