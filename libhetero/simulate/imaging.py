"""From bodies to particle images: pose, CTF, noise, each drawn from the particle's own key.

    X_i = contrast · ( crop( CTF_i · P(R_i, t_i) V_i ) + noise_i ),   key_i = fold_in(key, i)

The signal ends at the circle of Nyquist before cropping, as that of every slice does; only the part
that cropping keeps is made. Noise is white, with the variance of the CTF-applied noise-free images
over all their pixels divided by the SNR, at the box before cropping. Cropped from n to m pixels,
white noise of deviation σ is white noise of deviation σ m / n, but for the column kx = m / 2, which
stands for both signs of kx and keeps half its power. Exactly white noise is what is drawn. At half
the box the SNR of a pixel is up to four times the one asked for. Whatever particle i draws depends on
the seed and on i alone (a mixture's labels depend on the number of particles too, to be in equal
shares). What real data have besides is drawn in `nuisances`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Integer, PRNGKeyArray

from libhetero.physics.fourier import half_plane, hermitian_nyquist, real_image
from libhetero.physics.observation import recorded
from libhetero.physics.rotations import euler_to_matrix
from libhetero.records import CTFParams, Observation, Pose
from libhetero.simulate.configuration import CTFSampling, ImagingConfig
from libhetero.simulate.nuisances import coloured, tilt_cosine


def particle_key(seed: int | Integer[Array, ""], index: Integer[Array, ""]) -> PRNGKeyArray:
    """Return the key of one particle."""
    return jax.random.fold_in(jax.random.key(seed), index)


def pose_from(deviates: Float[Array, "5"], max_shift: float, views: float = 0.0) -> Pose:
    """Turn uniform deviates into a rotation uniform over SO(3) and a shift in ± `max_shift` Å.

    Euler angles rot and psi are uniform, and so is the cosine of tilt where no views are preferred.

    Parameters
    ----------
    views : see `tilt_cosine`.
    """
    rot, tilt, psi = deviates[0], jnp.arccos(tilt_cosine(deviates[1], views)), deviates[2]
    angles = jnp.stack([2 * jnp.pi * rot, tilt, 2 * jnp.pi * psi])
    return Pose(rotation=euler_to_matrix(angles), shift=(2 * deviates[3:] - 1) * max_shift)


def ctf_from(deviates: Float[Array, "3"], sampling: CTFSampling) -> CTFParams:
    """Turn uniform deviates into the CTF of one particle."""
    mean, difference, angle = deviates
    low, high = sampling.defocus
    mean = low + mean * (high - low)
    difference = difference * sampling.astigmatism_max
    zero = jnp.zeros(())
    return CTFParams(
        defocus_u=mean + difference / 2,
        defocus_v=mean - difference / 2,
        defocus_angle=angle * jnp.pi,
        voltage=zero + sampling.voltage,
        spherical_aberration=zero + sampling.spherical_aberration,
        amplitude_contrast=zero + sampling.amplitude_contrast,
        phase_shift=zero,
        b_factor=zero,
        scale=zero + 1.0,
    )


def ctf_of_table(deviate: Float[Array, ""], table: CTFParams) -> CTFParams:
    """Take a random row of a table with leading axis (rows,)."""
    rows = len(jnp.asarray(table.defocus_u))
    return table.take(jnp.minimum((deviate * rows).astype(jnp.int32), rows - 1))


def observe(
    projection: Complex[Array, "m half"], observation: Observation, config: ImagingConfig
) -> Float[Array, "m m"]:
    """Return the noise-free image, protein white.

    Parameters
    ----------
    projection : (m, m // 2 + 1), what cropping keeps of the Fourier image; m is the final box.
    observation : of the particle, as its list will state it.
    config : boxes and pixel sizes.
    """
    m = config.final_box
    projection = recorded(projection, observation, half_plane(m, config.final_pixel_size))
    if m < config.box_size:
        projection = hermitian_nyquist(projection, m) * (m / config.box_size) ** 2
    return real_image(projection, m)


def add_noise(
    image: Float[Array, "m m"], key: PRNGKeyArray, deviation: Float[Array, ""], config: ImagingConfig
) -> Float[Array, "m m"]:
    """Add noise that has this standard deviation before cropping, white unless a colour is asked for."""
    deviation = deviation * (config.final_box / config.box_size)
    noise = jax.random.normal(key, image.shape)
    if config.nuisances.noise_colour != 1:
        noise = coloured(noise, config.nuisances.noise_colour, config.box_size)
    return image + deviation * noise
