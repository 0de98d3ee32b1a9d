"""From bodies to particle images: pose, CTF, noise, each drawn from the particle's own key.

    X_i = contrast · ( crop( CTF_i · P(R_i, t_i) V_i ) + noise_i ),   key_i = fold_in(key, i)

The signal ends at the circle of Nyquist before cropping, as that of every slice does; only the part
that cropping keeps is made. Noise is white, with the variance of the CTF-applied noise-free images
over all their pixels divided by the SNR, at the box before cropping. Cropped from n to m pixels,
white noise of deviation σ is white noise of deviation σ m / n, but for the column kx = m / 2, which
stands for both signs of kx and keeps half its power. Exactly white noise is what is drawn. At half
the box the SNR of a pixel is up to four times the one asked for. Whatever particle i draws depends on
the seed and on i alone (a mixture's labels depend on the number of particles too, to be in equal
shares).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from libhetero.errors import ConfigurationError
from libhetero.physics.fourier import half_plane, hermitian_nyquist, real_image
from libhetero.physics.observation import observed
from libhetero.physics.rotations import euler_to_matrix
from libhetero.records import CTFParams, Observation, Pose


@dataclass(frozen=True)
class CTFSampling:
    """Where CTF parameters are drawn when no table is given: uniform between the limits.

    Parameters
    ----------
    voltage : kV.
    spherical_aberration : mm.
    amplitude_contrast : fraction.
    defocus_min, defocus_max : Å, mean defocus, underfocus positive.
    astigmatism_max : Å, defocus_u - defocus_v from 0 to this, at any angle.
    """

    voltage: float = 300.0
    spherical_aberration: float = 2.7
    amplitude_contrast: float = 0.1
    defocus_min: float = 5000.0
    defocus_max: float = 25000.0
    astigmatism_max: float = 500.0


@dataclass(frozen=True)
class ImagingConfig:
    """How a set of particle images is made.

    Parameters
    ----------
    particles : number of images.
    box_size : pixels (even), at which signal and noise are made.
    pixel_size : Å.
    snr : signal variance ÷ noise variance per pixel at `box_size`; None for no noise.
    seed : of poses, states, CTF and noise.
    crop : pixels (even), box after Fourier cropping; None to keep `box_size`.
    max_shift : Å, shifts uniform in ± this along x and y; None for 5 % of the box.
    ctf : how the CTF is drawn; None for no CTF.
    contrast : 1 protein white, -1 protein dark.
    """

    particles: int
    box_size: int
    pixel_size: float
    snr: float | None = 0.1
    seed: int = 0
    crop: int | None = None
    max_shift: float | None = None
    ctf: CTFSampling | None = field(default_factory=CTFSampling)
    contrast: int = 1

    def __post_init__(self) -> None:
        if self.particles < 1:
            raise ConfigurationError(f"particles: expected at least 1, got {self.particles}.")
        _check_box("box size", self.box_size)
        if self.crop is not None:
            _check_box("crop", self.crop)
            if self.crop > self.box_size:
                raise ConfigurationError(f"crop: expected at most the box size {self.box_size}, got {self.crop}.")
        if not self.pixel_size > 0:
            raise ConfigurationError(f"pixel size: expected more than 0, got {self.pixel_size:g}.")
        if self.snr is not None and not self.snr > 0:
            raise ConfigurationError(f"snr: expected more than 0, got {self.snr:g}; leave it out for no noise.")
        if self.contrast not in (1, -1):
            raise ConfigurationError(f"contrast: expected 1 or -1, got {self.contrast}.")

    @property
    def final_box(self) -> int:
        """Box size of the images as written, pixels."""
        return self.crop or self.box_size

    @property
    def final_pixel_size(self) -> float:
        """Pixel size of the images as written, Å."""
        return self.pixel_size * self.box_size / self.final_box


def _check_box(name: str, size: int) -> None:
    if size < 8 or size % 2:
        raise ConfigurationError(f"{name}: expected an even number of at least 8, got {size}.")


def particle_key(seed: int, index: Array) -> PRNGKeyArray:
    """Return the key of one particle."""
    return jax.random.fold_in(jax.random.key(seed), index)


def pose_from(deviates: Float[Array, "5"], max_shift: float) -> Pose:
    """Turn uniform deviates into a rotation uniform over SO(3) and a shift in ± `max_shift` Å.

    Euler angles rot and psi are uniform, and so is the cosine of tilt.
    """
    rot, tilt, psi = deviates[0], jnp.arccos(1 - 2 * deviates[1]), deviates[2]
    angles = jnp.stack([2 * jnp.pi * rot, tilt, 2 * jnp.pi * psi])
    return Pose(rotation=euler_to_matrix(angles), shift=(2 * deviates[3:] - 1) * max_shift)


def ctf_from(deviates: Float[Array, "3"], sampling: CTFSampling) -> CTFParams:
    """Turn uniform deviates into the CTF of one particle."""
    mean, difference, angle = deviates
    mean = sampling.defocus_min + mean * (sampling.defocus_max - sampling.defocus_min)
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
    rows = table.defocus_u.shape[0]
    return table.take(jnp.minimum((deviate * rows).astype(jnp.int32), rows - 1))


def observe(
    projection: Complex[Array, "m half"], observation: Observation, config: ImagingConfig
) -> Float[Array, "m m"]:
    """Return the noise-free image, protein white.

    Parameters
    ----------
    projection : (m, m // 2 + 1), what cropping keeps of the Fourier image; m is the final box.
    observation : of the particle.
    config : boxes and pixel sizes.
    """
    m = config.final_box
    projection = observed(projection, observation, half_plane(m, config.final_pixel_size))
    if m < config.box_size:
        projection = hermitian_nyquist(projection, m) * (m / config.box_size) ** 2
    return real_image(projection, m)


def add_noise(
    image: Float[Array, "m m"], key: PRNGKeyArray, deviation: Float[Array, ""], config: ImagingConfig
) -> Float[Array, "m m"]:
    """Add white noise that has this standard deviation before cropping."""
    deviation = deviation * (config.final_box / config.box_size)
    return image + deviation * jax.random.normal(key, image.shape)
