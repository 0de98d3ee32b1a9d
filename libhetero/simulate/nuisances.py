"""What real data have besides white noise, drawn from the particle's own key: the list errs, the image is right.

    list     R' = exp([ω]×) R,   t' = t + e,   U' = U + d,   V' = V + d
    image    X = α a · CTF(U, V) · P(R, t) V + b · noise,   0 · … for junk

ω ~ N(0, (pose_error² / 3) I), a rotation vector, so that the mean square of its length, the angle, is pose_error²;
e ~ N(0, shift_error² I); d ~ N(0, defocus_error²); α ~ N(1, contrast_sd²) within 1 ± 0.95; the noise's deviation has
a factor b = exp(z - noise_sd²), z ~ N(0, noise_sd²), whose mean square is 1. A micrograph has an optics of its own,
drawn as those of particles are without micrographs, and its particles' defoci are off by N(0, `LOCAL_DEFOCUS`²), as in
a slab of ice; its ice gives all of them a factor of the signal, a ~ N(1, `ICE`²), and a further one of the noise, as
b but of `ICE`.

Directions of view (the image's z axis in the model, third row of R) follow von Mises and Fisher's density about the
model's z axis, ∝ exp(κ cos tilt), so that cos tilt = 1 + log(1 + u (exp(-2κ) - 1)) / κ for u uniform.

Coloured noise has the power S(s) ∝ X^(cos²(π s / 2 s_N)) up to Nyquist s_N and that of Nyquist beyond: X times
that at low frequency, level there and at Nyquist. S is 1 on average over all frequencies of the box before cropping.

Each of these has a key of its own: switching one on changes nothing of the others. Whatever a particle draws depends
on seed and index alone, its micrograph's on seed and the micrograph's number.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from libhetero.physics.fourier import fourier_image, half_plane, real_image
from libhetero.physics.pytrees import register_record
from libhetero.physics.rotations import HIGHEST, axis_angle_to_matrix
from libhetero.records import CTFParams, Pose
from libhetero.simulate.configuration import NuisanceConfig

# Folded into a particle's key; `split`, which that key goes through too, may take the first few numbers.
TURN, SHIFT, DEFOCUS, CONTRAST, JUNK, PLACE, DEPTH, NOISE = range(15, 23)
OF_MICROGRAPHS = 2**32 - 1  # folded into the seed's key, as no particle is
LOCAL_DEFOCUS = 100.0  # Å, standard deviation within a micrograph
ICE = 0.1  # relative standard deviation of a micrograph's contrast, and of its noise
WIDEST = 0.95  # of a particle's contrast, either side of 1


@register_record
@dataclass(frozen=True, eq=False)
class Nuisances:
    """What was drawn for particles besides pose, CTF and state; arrays of leading axis particles, or none for one.

    Parameters
    ----------
    listed_pose, listed_ctf : what the list tells; no CTF where images carry none.
    contrast : what the signal is multiplied by; 0 for junk.
    noise : what the deviation of the noise is multiplied by.
    junk : True where the image holds noise alone.
    micrograph : number from 0; None where there are no micrographs.
    """

    listed_pose: Pose
    listed_ctf: CTFParams | None
    contrast: Any
    noise: Any
    junk: Any
    micrograph: Any


@register_record
@dataclass(frozen=True, eq=False)
class Micrograph:
    """One micrograph: its number, the uniform deviates of its optics (3,), its factors of signal and noise."""

    number: Any
    optics: Any
    contrast: Any
    noise: Any


def micrograph_of(seed: Any, key: PRNGKeyArray, count: int) -> Micrograph:
    """Return the micrograph, one of `count`, of the particle that has this key.

    Parameters
    ----------
    seed : of the set.
    key : from `particle_key`.
    """
    deviate = jax.random.uniform(jax.random.fold_in(key, PLACE))
    number = jnp.minimum((deviate * count).astype(jnp.int32), count - 1)
    shared = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), jnp.uint32(OF_MICROGRAPHS)), number)
    optics, ice = jax.random.split(shared)
    contrast, noise = ICE * jax.random.normal(ice, (2,))
    contrast = jnp.clip(1 + contrast, 1 - WIDEST, 1 + WIDEST)
    return Micrograph(number, jax.random.uniform(optics, (3,)), contrast, _factor(noise, ICE))


def locally(ctf: CTFParams, key: PRNGKeyArray) -> CTFParams:
    """Return a micrograph's CTF as the particle that has this key meets it, higher or lower in the ice."""
    return _defocused(ctf, LOCAL_DEFOCUS * jax.random.normal(jax.random.fold_in(key, DEPTH)))


def draw_nuisances(
    key: PRNGKeyArray,
    of_image: PRNGKeyArray,
    pose: Pose,
    ctf: CTFParams | None,
    micrograph: Micrograph | None,
    config: NuisanceConfig,
) -> Nuisances:
    """Draw what the list tells of a particle, and how strong its signal and noise are.

    Parameters
    ----------
    key : from `particle_key`.
    of_image : from `tilts.key_of_image` where the image is one of a series; else `key`.
    pose, ctf : of the image; of a series, the pose is the untilted one.
    micrograph : the particle's; None for none.
    config : what is on.
    """
    own, listed, listed_ctf = partial(jax.random.fold_in, key), pose, ctf
    if config.pose_error > 0:
        listed = Pose(rotation=_turned(pose.rotation, own(TURN), config.pose_error), shift=pose.shift)
    if config.shift_error > 0:
        moved = pose.shift + config.shift_error * jax.random.normal(jax.random.fold_in(of_image, SHIFT), (2,))
        listed = dataclasses.replace(listed, shift=moved)
    if ctf is not None and config.defocus_error > 0:
        listed_ctf = _defocused(ctf, config.defocus_error * jax.random.normal(own(DEFOCUS)))
    contrast, noise, number = _contrast(own(CONTRAST), config.contrast_sd), jnp.ones(()), None
    if config.noise_sd > 0:
        deviate = jax.random.normal(jax.random.fold_in(of_image, NOISE))
        noise = _factor(config.noise_sd * deviate, config.noise_sd)
    if micrograph is not None:
        contrast, noise, number = contrast * micrograph.contrast, noise * micrograph.noise, micrograph.number
    junk = jax.random.uniform(own(JUNK)) < config.junk
    return Nuisances(listed, listed_ctf, jnp.where(junk, 0.0, contrast), noise, junk, number)


def tilt_cosine(deviate: Float[Array, "*views"], views: float) -> Float[Array, "*views"]:
    """Return the cosine of the tilt of a direction of view, from a uniform deviate.

    Parameters
    ----------
    views : κ, 0 for uniform directions.
    """
    if views == 0:
        return 1 - 2 * deviate
    return jnp.clip(1 + jnp.log1p(deviate * np.expm1(-2 * views)) / views, -1.0, 1.0)


def noise_power(frequency: Float[np.ndarray, "*pixels"], colour: float) -> Float[np.ndarray, "*pixels"]:
    """Return the power of coloured noise, 1 at Nyquist.

    Parameters
    ----------
    frequency : cycles per pixel of the box before cropping.
    colour : power at low frequency ÷ that at Nyquist.
    """
    return colour ** (np.cos(np.pi * np.minimum(frequency, 0.5)) ** 2)


def coloured(white: Float[Array, "m m"], colour: float, box_size: int) -> Float[Array, "m m"]:
    """Colour white noise; what of its power was in all frequencies before cropping is kept.

    Parameters
    ----------
    white : at the final box.
    colour : as in `noise_power`.
    box_size : pixels, before cropping to m.
    """
    m, axis = white.shape[0], np.fft.fftfreq(box_size)
    mean = noise_power(np.hypot(axis[:, None], axis[None]), colour).mean()
    at = np.linalg.norm(np.asarray(half_plane(m, box_size / m), np.float64), axis=-1)
    amplitude = np.sqrt(noise_power(at, colour) / mean).astype(np.float32)
    return real_image(fourier_image(white) * amplitude, m)


def _turned(rotation: Float[Array, "3 3"], key: PRNGKeyArray, angle: float) -> Float[Array, "3 3"]:
    """Return a rotation after one by a normal rotation vector whose length has this root mean square, radians."""
    vector = angle / np.sqrt(3) * jax.random.normal(key, (3,))
    length = jnp.maximum(jnp.linalg.norm(vector), 1e-12)
    return jnp.matmul(axis_angle_to_matrix(vector / length, length), rotation, precision=HIGHEST)


def _defocused(ctf: CTFParams, defocus: Float[Array, ""]) -> CTFParams:
    """Return a CTF with a defocus, Å, added along both axes."""
    return dataclasses.replace(ctf, defocus_u=ctf.defocus_u + defocus, defocus_v=ctf.defocus_v + defocus)


def _contrast(key: PRNGKeyArray, deviation: float) -> Float[Array, ""]:
    """Return a particle's factor of the signal, normal about 1 and within `WIDEST` of it."""
    if deviation == 0:
        return jnp.ones(())
    limit = WIDEST / deviation
    return 1 + deviation * jax.random.truncated_normal(key, -limit, limit)


def _factor(logarithm: Float[Array, ""], deviation: float) -> Float[Array, ""]:
    """Return the factor of noise of which the logarithm is normal about 0; the mean of its square is 1."""
    return jnp.exp(logarithm - deviation**2)


def micrograph_names(numbers: Integer[np.ndarray, "particles"]) -> list[str]:
    """Return the names that lists give to micrographs."""
    return [f"micrographs/micrograph_{number:06d}.mrc" for number in numbers]
