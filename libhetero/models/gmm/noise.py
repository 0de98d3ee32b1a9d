"""What the model has to know of the images beforehand: their scale and the noise in each ring.

    scale   = Σ Re⟨CTF P, X⟩ / Σ ⟨CTF P, CTF P⟩        over a sample, P of the neutral mixture
    noise_r = mean over ring r of |scale · CTF P - X|²

Each ring's squared error is weighted by 1 / noise_r: rings full of noise say less.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.errors import DataError
from libhetero.physics.correlation import ring_sum
from libhetero.physics.fourier import fourier_image, half_plane, ring_index
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed, transfer
from libhetero.records import Batch, Gaussians, Observation


def ring_limits(resolution: tuple[float, float], n: int, pixel_size: float) -> tuple[int, int]:
    """Return the first ring and the one after the last inside (low, high) Å; never DC, 0 is widest."""
    extent = n * pixel_size
    low, high = resolution
    first = max(1, round(extent / low)) if low else 1
    last = min(n // 2, round(extent / high) + 1) if high else n // 2
    return first, last


def measure_noise(
    neutral: Gaussians, sample: Batch, n: int, pixel_size: float, limits: tuple[int, int]
) -> tuple[float, np.ndarray]:
    """Return the scale and the (n, n // 2 + 1) weights of the module's equations.

    Parameters
    ----------
    neutral : the starting mixture, Å.
    sample : particles, white on black.
    n, pixel_size : of the images, pixels and Å.
    limits : first ring and one after the last that count; weights are 0 elsewhere, and where
        kx = 0 and ky < 0, so that every number of the image counts once.

    Raises
    ------
    DataError : if the mixture's projections do not correlate with the images.
    """

    frequencies = half_plane(n, pixel_size)

    def one(image: Array, observation: Observation) -> tuple[Array, Array, Array]:
        target = fourier_image(image)
        model = observed(project_gaussians(neutral, observation.pose, n, pixel_size), observation, frequencies)
        cross = ring_sum(jnp.real(model * jnp.conj(target)))
        return cross, ring_sum(jnp.abs(model) ** 2), ring_sum(jnp.abs(target) ** 2)

    rings = jax.jit(jax.vmap(one))(sample.images, sample.observation)
    used = np.asarray(sample.weight) > 0
    cross, model, target = (np.asarray(ring, np.float64)[used].mean(axis=0) for ring in rings)
    inside = slice(*limits)
    scale = cross[inside].sum() / model[inside].sum()
    if not scale > 0:
        raise DataError(
            "the projected model and the images do not correlate (scale "
            f"{scale:.3g}, expected above 0); check --invert, the poses, and that the model is "
            "in the same frame as the particles."
        )
    count = np.asarray(jax.jit(ring_sum)(jnp.ones((n, n // 2 + 1))))
    noise = (target - 2 * scale * cross + scale**2 * model) / count
    weight = np.zeros(n, np.float64)
    weight[inside] = 1 / np.maximum(noise[inside], 1e-12 * noise[inside].max())
    plane = weight[np.minimum(ring_index(n), n - 1)].astype(np.float32)
    plane[n // 2 :, 0] = 0  # along kx = 0 the pixels k and -k are conjugates: one of them counts
    return float(scale), plane


def mean_transfer_power(observation: Observation, n: int, pixel_size: float) -> Float[np.ndarray, "rings"]:
    """Return the mean of T² over the pixels of each ring and over some particles, (n // 2,).

    Parameters
    ----------
    observation : of the particles, leading axis batch.
    n, pixel_size : of the images, pixels and Å.
    """
    frequencies = half_plane(n, pixel_size)
    rings = jax.jit(jax.vmap(lambda one: ring_sum(transfer(one, frequencies) ** 2)))(observation)
    pixels = np.asarray(ring_sum(jnp.ones((n, n // 2 + 1))), np.float64)
    return np.asarray(rings, np.float64).mean(axis=0) / pixels
