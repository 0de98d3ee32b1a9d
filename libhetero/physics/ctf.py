"""The contrast transfer function, once for the device (JAX) and for the host (NumPy).

    CTF(s) = scale · sin χ(s) · exp(-B s² / 4) · q(s)
    χ(s)   = π λ Δf(θ) s² - (π/2) Cs λ³ s⁴ + asin(w) + φ - Σ_i e_i Z_i(s)        even Z_i
    Δf(θ)  = (U + V)/2 + (U - V)/2 · cos 2(θ - θ0)
    s      = M k
    q(s)   = exp(-N / (2 N_c(s))),   N_c(s) = (V / 500 kV + 0.4) · (0.24499 s^-1.6649 + 2.8141) e⁻/Å²

q is what radiation has left of the signal after an exposure N, by the critical exposure N_c of Grant and Grigorieff
(eLife 4 (2015) e06980); 1 where no exposure is stated. They measured it at 300 kV and take 0.8 of
it at 200 kV; here the factor is a line in the voltage through both.

Beam tilt τ and the odd Zernike polynomials multiply the image by exp(iψ), which is no part of the CTF:

    ψ(s)   = -2π Cs λ² s² (τ·s) + Σ_i o_i Z_i(s)        odd Z_i

M, τ, e and o are those of RELION 3.1 (docs/conventions.md), and where a list has none of them they are not there.
With s = (x, y), cos 2(θ - θ0) s² = (x² - y²) cos 2θ0 + 2 x y sin 2θ0: no pixel needs an angle of its own.
Underfocus is positive and the value at s = 0 is +w, as in EMAN2 and RELION: a white particle
stays white. Contrast is a property of the stack, never of the CTF.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.physics.arrays import AnyArray
from libhetero.physics.zernike import zernike_sum
from libhetero.records import CTFParams

MILLIMETRE = 1e7  # Å
CRITICAL, CRITICAL_POWER, CRITICAL_LEAST = 0.24499, -1.6649, 2.8141  # of N_c at 300 kV
CRITICAL_BY_VOLTAGE, CRITICAL_AT_ZERO = 1 / 500, 0.4  # of its factor: 1 at 300 kV, 0.8 at 200 kV
WAVELENGTH, RELATIVITY = 12.2642597, 0.9784756e-6  # of λ = 12.26… / √(V + 0.978…e-6 V²)


def electron_wavelength(
    voltage: float | Float[AnyArray | np.floating, "*shape"],
) -> float | Float[AnyArray | np.floating, "*shape"]:
    """Return the relativistic wavelength in Å, λ = 12.2642597 / √(V + 0.978476e-6 V²), V in volts.

    Parameters
    ----------
    voltage : kV, a number or an array of either kind.
    """
    volts = 1000.0 * voltage
    return WAVELENGTH / (volts + RELATIVITY * volts**2) ** 0.5


def optical_frequencies(
    params: CTFParams, frequencies: Float[AnyArray, "*pixels 2"]
) -> tuple[Float[AnyArray, "..."], Float[AnyArray, "..."]]:
    """Return s = M k, x and y; k itself where the magnification is the same in all directions.

    Parameters
    ----------
    params, frequencies : as in `ctf_phase`.
    """
    x, y = frequencies[..., 0], frequencies[..., 1]
    m = params.magnification
    return (x, y) if m is None else (m[..., 0, 0] * x + m[..., 0, 1] * y, m[..., 1, 0] * x + m[..., 1, 1] * y)


def ctf_phase(
    params: CTFParams, frequencies: Float[AnyArray, "*pixels 2"], module: ModuleType = jnp
) -> Float[AnyArray, "..."]:
    """Return χ of the module's equation, radians.

    Parameters
    ----------
    params : numbers, or arrays that broadcast against (*pixels,), but for axes of their own at the end.
    frequencies : k, (x, y), 1/Å.
    module : `jax.numpy`, or `numpy` for the host; the result is of its kind.
    """
    x, y = optical_frequencies(params, frequencies)
    s2 = x**2 + y**2
    wavelength = electron_wavelength(params.voltage)
    mean = 0.5 * (params.defocus_u + params.defocus_v)
    difference = 0.5 * (params.defocus_u - params.defocus_v)
    along = difference * module.cos(2 * params.defocus_angle)
    across = difference * module.sin(2 * params.defocus_angle)
    aberration = 0.5 * params.spherical_aberration * MILLIMETRE * wavelength**2
    path = mean * s2 + along * (x**2 - y**2) + across * (2 * x * y) - aberration * s2**2
    phase = np.pi * wavelength * path + (module.arcsin(params.amplitude_contrast) + params.phase_shift)
    return phase if params.even_zernike is None else phase - zernike_sum(params.even_zernike, x, y, odd=False)


def odd_phase(params: CTFParams, frequencies: Float[AnyArray, "*pixels 2"]) -> Float[AnyArray, "..."] | float:
    """Return ψ of the module's equation, radians; -ψ(k) at -k.

    Parameters
    ----------
    params, frequencies : as in `ctf_phase`; the result is an array of their kind, or 0 where there is neither part.
    """
    x, y = optical_frequencies(params, frequencies)
    phase: Any = 0.0
    if params.beam_tilt is not None:
        tilted = params.beam_tilt[..., 0] * x + params.beam_tilt[..., 1] * y
        coma = params.spherical_aberration * MILLIMETRE * electron_wavelength(params.voltage) ** 2
        phase = phase - 2 * np.pi * coma * (x**2 + y**2) * tilted
    if params.odd_zernike is not None:
        phase = phase + zernike_sum(params.odd_zernike, x, y, odd=True)
    return phase


def ctf_at(params: CTFParams, frequencies: Float[AnyArray, "*pixels 2"]) -> Float[Array, "*pixels"]:
    """Evaluate the CTF of one particle.

    Parameters
    ----------
    params : numbers, see `libhetero.records.CTFParams`.
    frequencies : (x, y), 1/Å.
    """
    x, y = optical_frequencies(params, frequencies)
    s2 = x**2 + y**2
    ctf = params.scale * jnp.sin(ctf_phase(params, frequencies)) * jnp.exp(-0.25 * params.b_factor * s2)
    return ctf if params.exposure is None else ctf * _left_by(params.exposure, s2, params.voltage, jnp)


def exposure_filter(
    exposure: float | Float[AnyArray | np.floating, "..."],
    frequencies: Float[AnyArray, "*pixels 2"],
    voltage: float | Float[AnyArray | np.floating, "..."],
    module: ModuleType = jnp,
) -> Float[AnyArray, "..."]:
    """Return q of the module's equation: the part of the signal that an exposure leaves, above 0 and at most 1.

    It is 1 at s = 0, where its gradient is 0, and the same at s and -s.

    Parameters
    ----------
    exposure : N, e⁻/Å², up to the middle of the image's own; a number, or an array that broadcasts against (*pixels,).
    frequencies : s, (x, y), 1/Å, in the molecule (M k where there is a magnification matrix).
    voltage : kV, as `exposure`.
    module : `jax.numpy`, or `numpy` for the host; the result is of its kind.
    """
    return _left_by(exposure, frequencies[..., 0] ** 2 + frequencies[..., 1] ** 2, voltage, module)


def _left_by(exposure: Any, s2: Any, voltage: Any, module: ModuleType) -> Any:
    """Return q, given s².

    1 / N_c = s^p / (a + b s^p) has neither a pole nor, once the power of 0 is kept from its derivative, an infinite
    gradient at s = 0.
    """
    somewhere = s2 > 0
    power = module.where(somewhere, module.where(somewhere, s2, 1.0) ** (-CRITICAL_POWER / 2), 0.0)
    critical = (CRITICAL + CRITICAL_LEAST * power) * (CRITICAL_BY_VOLTAGE * voltage + CRITICAL_AT_ZERO)
    return module.exp(-0.5 * exposure * power / critical)
