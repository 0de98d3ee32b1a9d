"""Is protein white or dark in these images? An estimate, with how far it can be trusted.

Every image X is correlated with what white protein would look like in it, E = CTF · projection,

    r = Re Σ X E* / √(Σ|X|² Σ|E|²)     over 0 < |k| < ½ Nyquist,

and the sign is that of the mean of r over the images, if the mean exceeds its standard error
`CONFIDENT` times. Without a model the projection is a Gaussian blob at the particle's centre whose
standard deviation is a fifth of the box: at low frequencies any compact particle is one. Noise
without a particle gives 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from libhetero.physics.fourier import fourier_image, frequencies_2d, half_plane, hermitian_weight
from libhetero.physics.observation import moved, observed
from libhetero.records import Batch, Observation, Pose

CONFIDENT = 4.0
BLOB_SIGMA = 0.2  # of the box
HIGHEST_FREQUENCY = 0.25  # cycles per pixel

Projector = Callable[[Pose], Complex[Array, "n half"]]


@dataclass(frozen=True)
class ContrastEstimate:
    """What the images say.

    Parameters
    ----------
    sign : +1 protein white, -1 protein dark, 0 not clear.
    correlation : mean over the images.
    confidence : mean divided by its standard error.
    images : how many were looked at.
    """

    sign: int
    correlation: float
    confidence: float
    images: int

    def describe(self) -> str:
        """Return one line for people."""
        said = {
            1: "protein looks white",
            -1: "protein looks dark (inverted contrast)",
            0: "whether protein is white or dark is not clear",
        }[self.sign]
        sure = f", {abs(self.confidence):.1f} standard errors" if self.images > 1 else ""
        return (
            f"contrast: {said} (correlation {self.correlation:+.3f} with white protein{sure}, {self.images} "
            f"image{'s' if self.images != 1 else ''})"
        )


def estimate_contrast(batch: Batch, pixel_size: float, project: Projector | None = None) -> ContrastEstimate:
    """Estimate the contrast of some particles.

    Parameters
    ----------
    batch : images as stored (in sign), with pose and CTF; at least two of weight 1.
    pixel_size : Å.
    project : projection of a white model at a pose, without CTF; None for a blob.
    """
    n = batch.images.shape[-1]
    project = blob_projector(n, pixel_size) if project is None else project
    frequency = np.linalg.norm(frequencies_2d(n), axis=-1)
    weight = hermitian_weight(n) * ((frequency > 0) & (frequency < HIGHEST_FREQUENCY))

    def one(image: Float[Array, "n n"], observation: Observation) -> Float[Array, ""]:
        seen = fourier_image(image)
        expected = observed(project(observation.pose), observation, half_plane(n, pixel_size))
        power = jnp.sum(weight * jnp.abs(seen) ** 2) * jnp.sum(weight * jnp.abs(expected) ** 2)
        cross = jnp.sum(weight * jnp.real(seen * jnp.conj(expected)))
        return cross / jnp.sqrt(jnp.maximum(power, 1e-30))

    each = jax.jit(jax.vmap(one))(batch.images, batch.observation)
    return _judge(np.asarray(each, np.float64)[np.asarray(batch.weight) > 0])


def blob_projector(n: int, pixel_size: float) -> Projector:
    """Return the projector of a Gaussian blob at the model's origin, for any compact particle."""
    frequencies = frequencies_2d(n)
    square = (frequencies**2).sum(axis=-1) * (BLOB_SIGMA * n) ** 2
    blob = np.exp(-2 * np.pi**2 * square).astype(np.float32)

    def project(pose: Pose) -> Complex[Array, "n half"]:
        return moved(blob, pose, frequencies / np.float32(pixel_size))

    return project


def _judge(correlations: np.ndarray) -> ContrastEstimate:
    count = len(correlations)
    mean = float(correlations.mean())
    if count < 2:
        return ContrastEstimate(0, mean, 0.0, count)
    error = float(correlations.std(ddof=1)) / count**0.5
    confidence = mean / max(error, 1e-12)
    sign = int(np.sign(mean)) if abs(confidence) >= CONFIDENT else 0
    return ContrastEstimate(sign, mean, confidence, count)
