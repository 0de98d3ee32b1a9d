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
from libhetero.physics.arrays import AnyArray
from libhetero.physics.correlation import fourier_ring_correlation
from libhetero.physics.fourier import half_plane
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Gaussians, Observation


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


def mean_frc(
    projection: Complex[Array, "n half"],
    image: Complex[AnyArray, "n half"],
    observation: Observation,
    frequencies: Float[AnyArray, "n half 2"],
    rings: slice,
) -> Float[Array, ""]:
    """Return the FRC of a projection, as it is observed, with a particle, averaged over rings.

    Parameters
    ----------
    projection : of a mixture at the particle's pose, without CTF.
    image : transform of the particle.
    observation : of the particle.
    frequencies : of both half planes, 1/Å.
    rings : those averaged.
    """
    return jnp.mean(fourier_ring_correlation(observed(projection, observation, frequencies), image)[rings])


def gradient_features(
    gaussians: Gaussians,
    image: Complex[AnyArray, "n half"],
    observation: Observation,
    pixel_size: float,
    rings: slice,
    operators: Float[AnyArray, "copies 3 3"],
) -> Float[Array, "points 5"]:
    """Return ∂ mean_frc / ∂ (x, y, z, ln amplitude, ln width) of every Gaussian.

    Parameters
    ----------
    gaussians : one unit of a complex, Å.
    image, observation, rings : as in `mean_frc`.
    pixel_size : Å.
    operators : of the complex's symmetry.
    """
    n = image.shape[0]
    frequencies = half_plane(n, pixel_size)

    def agreement(unit: Gaussians) -> Array:
        projection = project_gaussians(symmetric_copies(unit, operators), observation.pose, n, pixel_size)
        return mean_frc(projection, image, observation, frequencies, rings)

    gradient = jax.grad(agreement)(gaussians)
    return jnp.concatenate(
        [
            gradient.position,
            (gradient.amplitude * gaussians.amplitude)[:, None],
            (gradient.sigma * gaussians.sigma)[:, None],
        ],
        axis=-1,
    )
