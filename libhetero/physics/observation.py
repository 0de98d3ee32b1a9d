"""How a particle's Fourier image comes about, and its adjoint: the one place for both.

    X(k) = T(k) · P(k; R) · exp(-2πi k·t),      T(k) = scale · CTF(k)

P is the projection of the molecule at rotation R: a central slice of its transform, or the sum over its
Gaussians (a projector that is given the whole pose has put the shift in). T is real, and the same at k and -k.
The adjoint takes an image back to the molecule's frame, T(k) exp(+2πi k·t) X(k), before the slice is spread.

Everything is asked for at frequencies: all of a half plane (`fourier.half_plane`, also of a coarser one,
which holds the low rings), or chosen ones. In quadrants (`libhetero.physics.quadrants`) T is a weight like any other.
Whatever else an image is multiplied by particle for particle belongs into T, and its value into the record
`Observation` or the `CTFParams` in it: models, measurements and reconstruction take T from here.
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from libhetero.physics.arrays import AnyArray
from libhetero.physics.ctf import ctf_at, ctf_phase
from libhetero.physics.fourier import phase_ramp
from libhetero.records import CTFParams, Observation, Pose


def transfer(observation: Observation, frequencies: Float[AnyArray, "*pixels 2"]) -> Float[Array, "*pixels"]:
    """Return T of one particle: what its projection is multiplied by.

    Parameters
    ----------
    observation : of the particle; its scale is that of its CTF.
    frequencies : (x, y), 1/Å.
    """
    if observation.ctf is None:
        return jnp.ones(frequencies.shape[:-1])
    return ctf_at(observation.ctf, frequencies)


def transfer_signs(ctf: CTFParams, frequencies: Float[np.ndarray, "*pixels 2"]) -> Float[np.ndarray, "batch *pixels"]:
    """Return the sign of T of many particles on the host: 1, or -1 where T is negative.

    What joins T in `transfer` and may be negative joins it here. Frequencies in float64 keep the phase exact.
    The sign of sin χ is that of the number of half turns in χ; no sine is needed.

    Parameters
    ----------
    ctf : leading axis batch.
    frequencies : (x, y), 1/Å.
    """
    pixels = frequencies.ndim - 1
    columns = {name: np.asarray(value, np.float64).reshape(-1, *(1,) * pixels) for name, value in ctf.columns().items()}
    params = replace(ctf, **columns)
    odd = np.floor(ctf_phase(params, frequencies.astype(np.float64), np) / np.pi) % 2 != 0
    return np.where(odd != (params.scale < 0), np.float32(-1), np.float32(1))


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
