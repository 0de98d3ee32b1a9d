"""The contrast transfer function.

    CTF(s) = scale · sin( π λ Δf(θ) s² - (π/2) Cs λ³ s⁴ + asin(w) + φ ) · exp(-B s² / 4)
    Δf(θ)  = (U + V)/2 + (U - V)/2 · cos 2(θ - θ0)

Underfocus is positive and the value at s = 0 is +w, as in EMAN2 and RELION: a white particle
stays white. Contrast is a property of the stack, never of the CTF.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from libhetero.physics.arrays import AnyArray, Number
from libhetero.physics.fourier import frequencies_2d
from libhetero.records import CTFParams

MILLIMETRE = 1e7  # Å
WAVELENGTH, RELATIVITY = 12.2642597, 0.9784756e-6  # of λ = 12.26… / √(V + 0.978…e-6 V²)


def electron_wavelength(voltage: Number) -> Number:
    """Return the relativistic wavelength in Å, λ = 12.2642597 / √(V + 0.978476e-6 V²), V in volts.

    Parameters
    ----------
    voltage : kV.
    """
    volts = 1000.0 * voltage
    return WAVELENGTH / jnp.sqrt(volts + RELATIVITY * volts**2)


def ctf_at(params: CTFParams, frequencies: Float[AnyArray, "*pixels 2"]) -> Float[Array, "*pixels"]:
    """Evaluate the CTF of one particle.

    Parameters
    ----------
    params : scalars, see `libhetero.records.CTFParams`.
    frequencies : (x, y), 1/Å.
    """
    x, y = frequencies[..., 0], frequencies[..., 1]
    s2 = x**2 + y**2
    angle = jnp.arctan2(y, x)
    wavelength = electron_wavelength(params.voltage)
    mean = 0.5 * (params.defocus_u + params.defocus_v)
    difference = 0.5 * (params.defocus_u - params.defocus_v)
    defocus = mean + difference * jnp.cos(2 * (angle - params.defocus_angle))
    aberration = params.spherical_aberration * MILLIMETRE
    phase = jnp.pi * wavelength * s2 * (defocus - 0.5 * aberration * wavelength**2 * s2)
    phase = phase + jnp.arcsin(params.amplitude_contrast) + params.phase_shift
    return params.scale * jnp.sin(phase) * jnp.exp(-0.25 * params.b_factor * s2)


def ctf_image(params: CTFParams, n: int, pixel_size: float) -> Float[Array, "n half"]:
    """Evaluate the CTF of one particle on the half plane of box n (pixels of `pixel_size` Å)."""
    return ctf_at(params, jnp.asarray(frequencies_2d(n)) / pixel_size)
