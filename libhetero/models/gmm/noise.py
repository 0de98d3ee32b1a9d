"""What the model has to know of the images beforehand: their scale and the noise in each ring.

    scale   = Σ Re⟨CTF P, X⟩ / Σ ⟨CTF P, CTF P⟩        over a sample, P of the neutral mixture
    noise_r = mean over ring r of |scale · CTF P - X|²

Each ring's squared error is weighted by 1 / noise_r: rings full of noise say less. Both are of the particles that show
the molecule at all: where the sample has junk (`libhetero.models.contrast`), it is measured again without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.errors import DataError
from libhetero.models.contrast import ContrastPrior, estimate_contrast, fit_contrast, junk_probability
from libhetero.models.sample import spread_over
from libhetero.physics.correlation import ring_sum
from libhetero.physics.fourier import dft_image, fourier_image, half_plane, ring_index
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed, transfer
from libhetero.records import Batch, Gaussians, Observation
from libhetero.tilts import images_alone

NOISE_SAMPLE = 256
TOGETHER = 64  # particles whose contrast is estimated at once


@dataclass(frozen=True, eq=False)
class Measured:
    """What a sample says of its images.

    Parameters
    ----------
    sample : the particles that show the molecule; where each has several images, all, those that do not without weight.
    scale, ring_weight : of the module's equations.
    contrast : of the whole sample.
    """

    sample: Batch
    scale: float
    ring_weight: np.ndarray
    contrast: ContrastPrior


def measure_sample(
    neutral: Gaussians, sample: Batch, n: int, pixel_size: float, limits: tuple[int, int], judged: bool
) -> Measured:
    """Return scale and noise of a sample, and which of its particles show the molecule.

    Parameters
    ----------
    neutral, n, pixel_size, limits : as in `measure_noise`.
    judged : whether contrast is estimated and junk looked for.
    """
    if sample.views > 1:
        images = images_alone(sample)
        measured = measure_sample(neutral, images, n, pixel_size, limits, judged)
        shown = np.isin(sample.index, measured.sample.index)
        return replace(measured, sample=replace(sample, weight=(sample.weight * shown).astype(np.float32)))
    scale, weight = measure_noise(neutral, spread_over(sample, NOISE_SAMPLE), n, pixel_size, limits)
    if not judged:
        return Measured(sample, scale, weight, ContrastPrior())
    all_of, seen = contrast_estimator(neutral, n, pixel_size), (sample.images, sample.observation)
    estimate, deviation = all_of(scale, weight, seen)
    prior = _prior(estimate, deviation)
    if not prior.junk:
        return Measured(sample, scale, weight, prior)
    kept = np.asarray(junk_probability(estimate, deviation, prior)) <= 0.5
    shown = jax.tree.map(lambda leaf: leaf[kept], sample)
    scale, weight = measure_noise(neutral, spread_over(shown, NOISE_SAMPLE), n, pixel_size, limits)
    return Measured(shown, scale, weight, _prior(*all_of(scale, weight, seen)))


def contrast_estimator(neutral: Gaussians, n: int, pixel_size: float) -> Callable[..., tuple[Array, Array]]:
    """Return what gives contrasts and their deviations, of a scale, weights, and (images, observation) of particles.

    Parameters
    ----------
    neutral : the mixture they show, Å.
    n, pixel_size : of the images, pixels and Å.
    """
    frequencies = half_plane(n, pixel_size)

    def one(scale: Array, weight: Array, image: Array, observation: Observation) -> tuple[Array, Array]:
        projection = scale * project_gaussians(neutral, observation.pose, n, pixel_size)
        return estimate_contrast(observed(projection, observation, frequencies), dft_image(image), weight)

    @jax.jit  # the images are an argument: as a constant of the program they would be worked on while it is compiled
    def all_of(scale: Array, weight: Array, seen: tuple[Array, Observation]) -> tuple[Array, Array]:
        return jax.lax.map(lambda each: one(scale, weight, *each), seen, batch_size=TOGETHER)

    return all_of


def _prior(estimate: Array, deviation: Array) -> ContrastPrior:
    return fit_contrast(np.asarray(estimate, np.float64), np.asarray(deviation, np.float64))


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
