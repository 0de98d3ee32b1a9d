"""From a particle to its latent.

The encoder reads how the Fourier ring correlation (FRC) between the particle and the neutral
mixture at the particle's pose would change with each Gaussian:

    g_i = ∂ mean_r FRC_r / ∂ (position, amplitude, width)_i

divided by each feature's root mean square over a sample of the set, so that a particle's input
never depends on the batch it is in. Three dense layers make the latent of it.

References
----------
Chen & Ludtke, Nat. Methods 18 (2021) 930, "encoder input".
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.precision import dot_general
from libhetero.physics.correlation import fourier_ring_correlation
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Gaussians, Pose


class Encoder(nn.Module):
    """features (N, 5) → latent (L,), for one particle."""

    config: GmmConfig

    @nn.compact
    def __call__(self, features: Float[Array, "points 5"]) -> Float[Array, "latent"]:
        """Return the latent; small at initialisation."""
        product = dot_general(self.config.precision)
        hidden = features.reshape(-1)
        for number in range(3):
            hidden = nn.relu(nn.Dense(self.config.encoder_width, dot_general=product, name=f"hidden_{number}")(hidden))
        return nn.Dense(self.config.latent_size, dot_general=product, name="latent")(hidden)


def scaled_error(
    gaussians: Gaussians,
    target: Complex[Array, "n half"],
    ctf: Float[Array, "n half"],
    pose: Pose,
    pixel_size: float,
    ring_weight: Float[Array, "n half"],
) -> Float[Array, ""]:
    """Return Σ_k w(k) |CTF(k) P(k) - X(k)|², the negative log-likelihood for w = 1 / 2 noise power.

    Parameters
    ----------
    gaussians : one mixture, Å, its amplitudes on the scale of the images.
    target, ctf, pose, pixel_size : as in `mean_frc`.
    ring_weight : w on the half plane; 0 outside the rings compared.
    """
    rendered = project_gaussians(gaussians, pose, target.shape[0], pixel_size)
    difference = rendered * ctf - target
    return jnp.sum(ring_weight * (jnp.real(difference) ** 2 + jnp.imag(difference) ** 2))


def mean_frc(
    gaussians: Gaussians,
    target: Complex[Array, "n half"],
    ctf: Float[Array, "n half"],
    pose: Pose,
    pixel_size: float,
    rings: slice,
) -> Float[Array, ""]:
    """Return the FRC of the projected mixture, times the CTF, with a particle, averaged over rings.

    Parameters
    ----------
    gaussians : one mixture, Å.
    target : transform of the particle.
    ctf : of the particle, on the same half plane.
    pose : of the particle.
    pixel_size : Å.
    rings : those averaged.
    """
    rendered = project_gaussians(gaussians, pose, target.shape[0], pixel_size)
    return jnp.mean(fourier_ring_correlation(rendered * ctf, target)[rings])


def gradient_features(
    gaussians: Gaussians,
    target: Complex[Array, "n half"],
    ctf: Float[Array, "n half"],
    pose: Pose,
    pixel_size: float,
    rings: slice,
    operators: Float[Array, "copies 3 3"],
) -> Float[Array, "points 5"]:
    """Return ∂ mean_frc / ∂ (x, y, z, ln amplitude, ln width) of every Gaussian; see `mean_frc`.

    The Gaussians are one unit of a complex with these symmetry operators.
    """

    def agreement(unit: Gaussians) -> Array:
        whole = symmetric_copies(unit, operators)
        return mean_frc(whole, target, ctf, pose, pixel_size, rings)

    gradient = jax.grad(agreement)(gaussians)
    return jnp.concatenate(
        [
            gradient.position,
            (gradient.amplitude * gaussians.amplitude)[:, None],
            (gradient.sigma * gaussians.sigma)[:, None],
        ],
        axis=-1,
    )
