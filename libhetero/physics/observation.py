"""How a particle's Fourier image comes about, and its adjoint: the one place for both.

    X(k) = T(k) · P(k; R) · exp(-2πi k·t),      T(k) = α · scale · CTF(k)

P is the projection of the molecule at rotation R: a central slice of its transform, or the sum over its
Gaussians (a projector that is given the whole pose has put the shift in). α is the particle's contrast, 1 where
none is given (`Observation.contrast`). T is real, and the same at k and -k.
With anisotropic magnification M the optics and the molecule are met at M k: T(k) = scale · CTF(M k), and P is taken at
the stretched rotation A = diag(Mᵀ, 1) R, for Aᵀ (k, 0) = Rᵀ (M k, 0); the shift is of the image, and stays. A slice
at A is exact; the Gaussians of a mixture move by A and keep their round widths, so that these are right to first
order in M - 1. What a microscope records has exp(iψ) in it besides (`recorded`; ψ: beam tilt and odd Zernike
polynomials). That factor has modulus 1 and leaves white noise white: it is taken off the images
once on the host (`odd_factors`), and models and reconstruction never meet it. `seen_through` gives the pose and the
CTF that they meet.

The adjoint takes an image back to the molecule's frame, T(k) exp(+2πi k·t) X(k), before the slice is spread.

Everything is asked for at frequencies: all of a half plane (`fourier.half_plane`, also of a coarser one,
which holds the low rings), or chosen ones. In quadrants (`libhetero.physics.quadrants`) T is a weight like any other.
Whatever else an image is multiplied by particle for particle belongs into T, and its value into the record
`Observation` or the `CTFParams` in it: models, measurements and reconstruction take T from here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from libhetero.physics.arrays import AnyArray
from libhetero.physics.ctf import ctf_at, ctf_phase, odd_phase
from libhetero.physics.fourier import phase_ramp
from libhetero.records import CTFParams, Observation, Pose


def transfer(observation: Observation, frequencies: Float[AnyArray, "*pixels 2"]) -> Float[Array, "*pixels"]:
    """Return T of one particle: what its projection is multiplied by.

    Parameters
    ----------
    observation : of the particle; its scale is that of its CTF, times its contrast.
    frequencies : (x, y), 1/Å.
    """
    ctf, contrast = observation.ctf, observation.contrast
    passed = jnp.ones(frequencies.shape[:-1]) if ctf is None else ctf_at(ctf, frequencies)
    return passed if contrast is None else contrast * passed


def transfer_signs(ctf: CTFParams, frequencies: Float[np.ndarray, "*pixels 2"]) -> Float[np.ndarray, "batch *pixels"]:
    """Return the sign of T of many particles on the host: 1, or -1 where T is negative.

    What joins T in `transfer` and may be negative joins it here; a contrast, which models estimate of images whose
    phases were flipped before, does not. Frequencies in float64 keep the phase exact.
    The sign of sin χ is that of the number of half turns in χ; no sine is needed.

    Parameters
    ----------
    ctf : leading axis batch.
    frequencies : (x, y), 1/Å.
    """
    params = _beside_pixels(ctf, frequencies)
    odd = np.floor(ctf_phase(params, frequencies.astype(np.float64), np) / np.pi) % 2 != 0
    return np.where(odd != (params.scale < 0), np.float32(-1), np.float32(1))


def odd_factors(ctf: CTFParams, frequencies: Float[np.ndarray, "*pixels 2"]) -> Complex[np.ndarray, "batch *pixels"]:
    """Return exp(iψ) of many particles on the host; its conjugate takes the odd aberrations off their images.

    It is made once for particles that share it, as those of an optics group do.

    Parameters
    ----------
    ctf, frequencies : as in `transfer_signs`; the CTF has an odd part.
    """
    count = len(np.asarray(ctf.defocus_u))
    parts = (ctf.voltage, ctf.spherical_aberration, ctf.magnification, ctf.beam_tilt, ctf.odd_zernike)
    rows = np.concatenate(
        [np.asarray(part, np.float64).reshape(count, -1) for part in parts if part is not None], axis=1
    )
    _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    phase = odd_phase(_beside_pixels(ctf.take(first), frequencies), frequencies.astype(np.float64))
    return np.exp(1j * np.asarray(phase)).astype(np.complex64)[kind.ravel()]


def _beside_pixels(ctf: CTFParams, frequencies: np.ndarray) -> CTFParams:
    """Return the parameters of many particles in float64, with axes for the pixels after the first."""
    pixels = (1,) * (frequencies.ndim - 1)
    columns = {name: np.asarray(value, np.float64) for name, value in ctf.columns().items()}
    return replace(ctf, **{name: value.reshape(-1, *pixels, *value.shape[1:]) for name, value in columns.items()})


def has_odd_part(ctf: CTFParams) -> bool:
    """Return whether images with this CTF have odd aberrations."""
    return not (ctf.beam_tilt is None and ctf.odd_zernike is None)


def seen_through(pose: Pose, ctf: CTFParams) -> tuple[Pose, CTFParams]:
    """Return the pose and the CTF that a model meets, its images being without odd aberrations.

    Parameters
    ----------
    pose, ctf : of one particle, or with the same leading axes, as lists state them. Where these state no
        more than a CTF, they are returned as they are.
    """
    if has_odd_part(ctf):
        ctf = replace(ctf, beam_tilt=None, odd_zernike=None)
    if ctf.magnification is None:
        return pose, ctf
    module: Any = np if isinstance(pose.rotation, np.ndarray) else jnp
    m, (x, y, z) = ctf.magnification[..., None], (pose.rotation[..., row, :] for row in range(3))
    across = [m[..., 0, column, :] * x + m[..., 1, column, :] * y for column in range(2)]
    rotation = module.stack([*across, z], axis=-2)
    return Pose(rotation=rotation, shift=pose.shift), ctf


def recorded(
    projection: Complex[AnyArray, "*pixels"], observation: Observation, frequencies: Float[AnyArray, "*pixels 2"]
) -> Complex[Array, "*pixels"]:
    """Return exp(iψ) · T · P: the noise-free image with its odd aberrations, as a microscope records it.

    Parameters
    ----------
    projection, frequencies : as in `observed`, at the pose that `seen_through` gives.
    observation : of the particle, with the CTF that its list states.
    """
    image = observed(projection, observation, frequencies)
    ctf = observation.ctf
    return image if ctf is None or not has_odd_part(ctf) else image * jnp.exp(1j * odd_phase(ctf, frequencies))


def observed(
    projection: Complex[AnyArray, "*pixels"], observation: Observation, frequencies: Float[AnyArray, "*pixels 2"]
) -> Complex[Array, "*pixels"]:
    """Return the noise-free image X = T · P of a projection at the particle's pose, shift and all.

    Parameters
    ----------
    projection : at the frequencies, without CTF.
    observation, frequencies : as in `transfer`.
    """
    return transfer(observation, frequencies) * projection


def moved(
    central: Inexact[AnyArray, "*pixels"], pose: Pose, frequencies: Float[AnyArray, "*pixels 2"]
) -> Complex[Array, "*pixels"]:
    """Return exp(-2πi k·t) times a projection about the molecule's origin: it lands where the particle is."""
    return phase_ramp(frequencies, pose.shift) * central


def moved_back(
    image: Complex[AnyArray, "*pixels"], pose: Pose, frequencies: Float[AnyArray, "*pixels 2"]
) -> Complex[Array, "*pixels"]:
    """Return exp(+2πi k·t) times an image, its particle at the origin: inverse of `moved`, and its adjoint."""
    return phase_ramp(frequencies, -pose.shift) * image


def backprojected(
    image: Complex[AnyArray, "*pixels"], observation: Observation, frequencies: Float[AnyArray, "*pixels 2"]
) -> Complex[Array, "*pixels"]:
    """Return T · exp(+2πi k·t) X, the adjoint of `observed` after `moved`, for ⟨a, b⟩ = Re Σ_k conj(a) b."""
    return transfer(observation, frequencies) * moved_back(image, observation.pose, frequencies)


def squared_error(
    projection: Complex[AnyArray, "*pixels"],
    image: Complex[AnyArray, "*pixels"],
    observation: Observation,
    frequencies: Float[AnyArray, "*pixels 2"],
    weight: float | Float[AnyArray, "*#pixels"] = 1.0,
) -> Float[Array, ""]:
    """Return Σ_k w(k) |T(k) P(k) - X(k)|², the negative log-likelihood for w = 1 / 2 noise power.

    Parameters
    ----------
    projection : at the particle's pose, without CTF, on the scale of the images.
    image : of the particle, at the same frequencies.
    observation, frequencies : as in `transfer`.
    weight : w; 0 where nothing is compared.
    """
    return jnp.sum(weight * power(observed(projection, observation, frequencies) - image))


def power(values: Complex[AnyArray, "*pixels"]) -> Float[Array, "*pixels"]:
    """Return |F|², with a gradient that is finite at 0."""
    return jnp.real(values) ** 2 + jnp.imag(values) ** 2
