"""Images as central slices: the low rings of each particle's image, whitened, at its origin, and its transfer.

With X the image in the units of `fourier_image` divided by n, σ² the power of the noise in a ring, and T the transfer
of the particle,

    x = X exp(2πi k·t) / σ,      τ = T / σ,      x = τ V(Rᵀ k) + noise,   E |noise|² = 1

at every pixel k of half a plane, each of which stands for itself and -k. Constant images (k = 0) are left out.

A particle of several images, such as the tilts of a series, has the pixels of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import frequencies_2d, ring_index
from libhetero.physics.observation import moved_back, transfer
from libhetero.records import Batch, Observation
from libhetero.tilts import rows_of_views

ROUNDED = 1e-4  # of a ring


@dataclass(frozen=True, eq=False)
class CentralSlices:
    """The low rings of particles.

    Parameters
    ----------
    image : x.
    transfer : τ; 0 everywhere for an image that is to say nothing.
    rotation : model to image.
    frequencies : (x, y) of each pixel, cycles per box, nearest to the origin first.
    views : images of each particle: rows i·views to (i + 1)·views show one.
    """

    image: Complex[np.ndarray, "images pixels"]
    transfer: Float[np.ndarray, "images pixels"]
    rotation: Float[np.ndarray, "images 3 3"]
    frequencies: Float[np.ndarray, "pixels 2"]
    views: int = 1

    def __len__(self) -> int:
        return len(self.image) // self.views

    @property
    def shown(self) -> Bool[np.ndarray, "particles"]:
        """Which particles' images say anything at all."""
        told = self.transfer.any(axis=1)
        return np.any(told.reshape(-1, self.views), axis=1)

    @property
    def ring(self) -> float:
        """The highest, cycles per box."""
        return float(np.linalg.norm(self.frequencies[-1]))

    def within(self, ring: float) -> CentralSlices:
        """Return the same without what lies beyond a ring, cycles per box."""
        radius = np.linalg.norm(self.frequencies, axis=1)
        kept = int(np.searchsorted(radius, ring + ROUNDED))
        parts = self.image[:, :kept], self.transfer[:, :kept], self.rotation, self.frequencies[:kept]
        return CentralSlices(*parts, self.views)

    def at(self, rotation: Float[np.ndarray, "images 3 3"], shift: Float[np.ndarray, "images 2"]) -> CentralSlices:
        """Return the same of molecules seen at other rotations, and shifted from the origins, by parts of the box."""
        phase = np.exp(2j * np.pi * (shift @ self.frequencies.T)).astype(np.complex64)
        return replace(self, image=self.image * phase, rotation=rotation.astype(np.float32))

    def take(self, rows: np.ndarray) -> CentralSlices:
        """Return some of the particles."""
        if self.views > 1:
            rows = rows_of_views(rows, self.views)
        return replace(self, image=self.image[rows], transfer=self.transfer[rows], rotation=self.rotation[rows])


def joined(parts: Sequence[CentralSlices]) -> CentralSlices:
    """Return the particles of several sets of slices, one after the other."""
    return CentralSlices(
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.transfer for part in parts]),
        np.concatenate([part.rotation for part in parts]),
        parts[0].frequencies,
        parts[0].views,
    )


def disc_pixels(n: int, ring: float) -> np.ndarray:
    """Return the places in a flattened half plane of pixels within a ring, one of k and -k, the lowest first."""
    frequency = np.rint(frequencies_2d(n).reshape(-1, 2) * n)
    radius = np.linalg.norm(frequency, axis=1)
    twice = (frequency[:, 0] == 0) & (frequency[:, 1] < 0)
    inside = (radius > 0) & (radius <= min(ring + ROUNDED, n / 2 - 1)) & ~twice
    chosen = np.flatnonzero(inside)
    return chosen[np.argsort(radius[chosen], kind="stable")]


def central_slices(
    batch: Batch, n: int, pixel_size: float, ring: float, noise: Float[np.ndarray, "rings"]
) -> CentralSlices:
    """Return the slices of a batch; padding of weight 0 says nothing.

    Parameters
    ----------
    batch : images of box n.
    n : pixels.
    pixel_size : Å.
    ring : cycles per box.
    noise : power of a Fourier pixel of `fourier_image` / n, by ring 0 … n // 2.
    """
    pixels = disc_pixels(n, ring)
    frequencies = frequencies_2d(n).reshape(-1, 2)[pixels]
    deviation = np.sqrt(np.asarray(noise, np.float32))[ring_index(n).reshape(-1)[pixels]]
    image, passed = _slices(batch, deviation, pixels, frequencies / np.float32(pixel_size))
    rotation, whole = np.asarray(batch.pose.rotation), np.rint(frequencies * n).astype(np.float32)
    return CentralSlices(np.asarray(image), np.asarray(passed), rotation, whole, batch.views)


@jax.jit
def _slices(batch: Batch, deviation: Array, pixels: Array, frequencies: Array) -> tuple[Array, Array]:
    n = batch.images.shape[-1]
    planes = jnp.fft.rfft2(jnp.fft.ifftshift(batch.images, axes=(-2, -1))) / n
    chosen = planes.reshape(len(planes), -1)[:, pixels]

    def one(image: Array, observation: Observation, weight: Array) -> tuple[Array, Array]:
        at_origin, passed = whitened(image, observation, frequencies, deviation)
        return jnp.where(weight > 0, at_origin, 0), jnp.where(weight > 0, passed, 0)

    images, transfers = jax.vmap(one)(chosen, batch.observation, batch.weight)
    return images.astype(jnp.complex64), transfers.astype(jnp.float32)


def whitened(
    image: Complex[AnyArray, "pixels"],
    observation: Observation,
    frequencies: Float[AnyArray, "pixels 2"],
    deviation: Float[AnyArray, "pixels"],
) -> tuple[Complex[Array, "pixels"], Float[Array, "pixels"]]:
    """Return x and τ of one image.

    Parameters
    ----------
    image : X.
    observation : of the particle.
    frequencies : cycles per Å.
    deviation : σ.
    """
    at_origin = moved_back(image, observation.pose, frequencies) / deviation
    return at_origin, transfer(observation, frequencies) / deviation
