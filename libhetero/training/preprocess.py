"""What is done to an image between the stack and the model.

In this order, for every image X of box n:

1. phase-flipped images get their signs back, X ← F⁻¹[ sign(CTF) F[X] ], so that the model
   always meets images that carry the whole CTF (only where the set says it was flipped), and
   odd aberrations are taken off, X ← F⁻¹[ exp(-iψ) F[X] ] (only where the list states any);
2. X ← contrast · X, so that protein is white;
3. Fourier crop to `box_size` m < n: pixels n/m times as large, values keep their level;
4. X ← X - mean of X outside the circle of radius m/2 (the corners, where no particle is);
5. X ← X / deviation, either one number for the set ("set", the standard deviation over
   all pixels of a fixed sample of images) or that of each image ("image").

One number for the set keeps the ratio of intensities between particles. The mean and the
deviation are over all pixels rather than over the background, so that noiseless images work too.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Int

from libhetero.errors import ConfigurationError, DataError
from libhetero.physics.fourier import frequencies_2d
from libhetero.physics.observation import has_odd_part, odd_factors, transfer_signs
from libhetero.records import CTFParams
from libhetero.training.bad_images import BadImages
from libhetero.training.configuration import PreprocessConfig

SAMPLE_BLOCK = 64


@runtime_checkable
class Reader(Protocol):
    """Anything that gives images by place in the particle set."""

    def read(self, indices: Int[np.ndarray, "count"]) -> Float[np.ndarray, "count n n"]:
        """Return float32 images (len(indices), n, n)."""


def preprocess(images: Float[np.ndarray, "batch n n"], config: PreprocessConfig) -> Float[np.ndarray, "batch m m"]:
    """Apply steps 2 to 5 of this module to a block of images, on the host."""
    images = np.asarray(images, np.float32)
    if config.box_size is not None:
        images = fourier_crop(images, config.box_size)
    images = images - background_mean(images)[:, None, None]
    if config.normalise == "set":
        images *= np.float32(config.contrast / config.deviation)
    else:
        images *= np.float32(config.contrast)
    if config.normalise == "image":
        deviation = images.std(axis=(1, 2), keepdims=True)
        images /= np.where(deviation > 0, deviation, 1)
    return images


def outside_circle(n: int) -> Bool[np.ndarray, "n n"]:
    """Return which pixels of box n lie more than n/2 pixels from the centre n // 2, (n, n) bool."""
    axis = np.arange(n) - n // 2
    return np.hypot(axis[:, None], axis[None, :]) > n / 2


def background_mean(images: Float[np.ndarray, "batch n n"]) -> Float[np.ndarray, " batch"]:
    """Return the mean of each image outside the particle's circle.

    No product of matrices: its rounding would depend on the images beside this one.
    """
    outside = np.flatnonzero(outside_circle(images.shape[-1]))
    return np.take(images.reshape(len(images), -1), outside, axis=1).mean(axis=1)


def fourier_crop(images: Float[np.ndarray, "batch n n"], m: int) -> Float[np.ndarray, "batch m m"]:
    """Resample images to a box of m pixels of n/m the size, about the centre, on the host.

    Raises
    ------
    ConfigurationError : for m > n.
    """
    n = images.shape[-1]
    if m > n:
        raise ConfigurationError(f"box {m} is larger than the particles' box {n}; choose a box of at most {n} pixels.")
    if m == n:
        return images
    fourier = scipy.fft.rfft2(np.fft.ifftshift(images, axes=(1, 2)))
    positive = (m + 1) // 2
    negative = m - positive
    rows = np.concatenate([fourier[:, :positive], fourier[:, n - negative :]], axis=1)
    cropped = scipy.fft.irfft2(rows[:, :, : m // 2 + 1], s=(m, m)) * (m / n) ** 2
    return np.fft.fftshift(cropped, axes=(1, 2)).astype(np.float32)


def as_models_expect(
    images: Float[np.ndarray, "batch n n"], ctf: CTFParams, pixel_size: float, phase_flipped: bool
) -> Float[np.ndarray, "batch n n"]:
    """Apply step 1 of this module: images that carry the whole CTF and no odd aberration.

    Parameters
    ----------
    ctf : leading axis batch, as their list states it.
    pixel_size : of `images`, Å.
    phase_flipped : whether the images carry the sign of the CTF already.
    """
    if phase_flipped:
        images = restore_signs(images, ctf, pixel_size)
    return remove_odd_phase(images, ctf, pixel_size) if has_odd_part(ctf) else images


def remove_odd_phase(
    images: Float[np.ndarray, "batch n n"], ctf: CTFParams, pixel_size: float
) -> Float[np.ndarray, "batch n n"]:
    """Take odd aberrations off images, which leaves the power of every frequency as it is, on the host.

    Parameters
    ----------
    ctf, pixel_size : as in `as_models_expect`.
    """
    fourier = scipy.fft.rfft2(np.asarray(images, np.float32))
    fourier *= odd_factors(ctf, frequencies_2d(images.shape[-1]).astype(np.float64) / pixel_size).conj()
    return scipy.fft.irfft2(fourier, s=images.shape[-2:], overwrite_x=True)


def restore_signs(
    images: Float[np.ndarray, "batch n n"], ctf: CTFParams, pixel_size: float
) -> Float[np.ndarray, "batch n n"]:
    """Undo phase flipping: multiply each transform by the sign of its CTF, on the host.

    The CTF is even in k, so that the transform may be about the corner.

    Parameters
    ----------
    ctf : leading axis batch.
    pixel_size : of `images`, Å.
    """
    fourier = scipy.fft.rfft2(np.asarray(images, np.float32))
    fourier *= transfer_signs(ctf, frequencies_2d(images.shape[-1]).astype(np.float64) / pixel_size)
    return scipy.fft.irfft2(fourier, s=images.shape[-2:], overwrite_x=True)


def estimate_deviation(
    reader: Reader,
    count: int,
    config: PreprocessConfig,
    *,
    sample: int = 1024,
    seed: int = 0,
    bad: BadImages | None = None,
) -> float:
    """Return the standard deviation over all pixels of a fixed sample, after steps 2 to 4.

    Parameters
    ----------
    reader : gives the images.
    count : number of particles in the set.
    sample : images looked at, drawn without replacement.
    seed : of the draw.
    bad : counts images that are not finite, which are left out; None for an error at the first.

    Raises
    ------
    DataError : if the sampled images are constant or hold values that are not finite.
    """
    plain = dataclasses.replace(config, normalise="none")
    chosen = sample_indices(count, sample, seed)
    total, pixels, varying = 0.0, 0, False
    for start in range(0, len(chosen), SAMPLE_BLOCK):
        index = chosen[start : start + SAMPLE_BLOCK]
        stored = reader.read(index)
        if bad is not None:
            stored = stored[bad.screen(stored, index)]
        if not len(stored):
            continue
        varying = varying or bool((stored != stored[:, :1, :1]).any())
        images = preprocess(stored, plain)
        total += float(np.sum(np.square(images, dtype=np.float64)))
        pixels += images.size
    deviation = float(np.sqrt(total / max(pixels, 1)))
    if not np.isfinite(deviation):
        raise DataError(
            "the particle images hold values that are not finite (NaN or infinity) or overflow; "
            "expected finite pixels. Remove those images or write the stack again."
        )
    if not varying or deviation == 0:
        raise DataError(
            f"the {len(chosen)} sampled particle images are constant; expected varying pixels. "
            "Check that the list points at the right stack."
        )
    return deviation


def sample_indices(count: int, sample: int, seed: int) -> Int[np.ndarray, "chosen"]:
    """Return at most `sample` distinct places below `count`, in increasing order."""
    if count <= sample:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False))
