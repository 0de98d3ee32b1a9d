"""Central slices of a volume's transform; `libhetero.reconstruction.backproject` has their adjoint.

Fourier slice theorem: the transform of a projection at rotation R is the central plane

    F(kx, ky) = V(Rᵀ (kx, ky, 0)) = V(kx R[0] + ky R[1]).

The volume is padded in real space, so its transform is sampled `padding` times more finely, and
read by trilinear interpolation; dividing the volume by the transform of the interpolation
kernel beforehand (sinc² along each axis) removes the fall-off that interpolation brings.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import fourier_volume, frequencies_2d
from libhetero.physics.observation import moved
from libhetero.physics.rotations import HIGHEST
from libhetero.records import Pose

PADDING = 2
ROUNDED = 1.0001  # a turned frequency of exactly Nyquist is one still


def kernel_correction(n: int, padded: int) -> Float[np.ndarray, "n n n"]:
    """Return 1 / sinc² along each axis of an n³ volume read from a grid of `padded` frequencies."""
    axis = 1.0 / np.sinc((np.arange(n) - n // 2) / padded) ** 2
    return (axis[:, None, None] * axis[None, :, None] * axis[None, None, :]).astype(np.float32)


def prepare_volume(volume: Float[AnyArray, "n n n"], padding: int = PADDING) -> Complex[Array, "padded padded half"]:
    """Return the oversampled transform that `central_slice` reads.

    Parameters
    ----------
    volume : (z, y, x), origin n // 2, n even.
    padding : how many times the transform is oversampled.
    """
    n = volume.shape[0]
    padded = padding * n
    before = padded // 2 - n // 2
    widths = [(before, padded - n - before)] * 3
    transform = fourier_volume(jnp.pad(volume * kernel_correction(n, padded), widths))
    # DC is always read on a grid point, and alone: there the correction would be one too many.
    return transform.at[0, 0, 0].set(jnp.sum(volume)) if padding > 1 else transform


def slice_frequencies(
    rotation: Float[AnyArray, "3 3"], frequencies: Float[AnyArray, "*pixels 2"]
) -> Float[Array, "*pixels 3"]:
    """Return kx R[0] + ky R[1], the model-frame frequencies of image pixels, in their own unit."""
    return jnp.matmul(frequencies, rotation[:2], precision=HIGHEST)


def cropped_frequencies(n: int, kept: int | None = None) -> Float[np.ndarray, "kept half 2"]:
    """Return the (kx, ky) in cycles per pixel of box n that Fourier cropping to `kept` leaves."""
    kept = kept or n
    return frequencies_2d(kept) * np.float32(kept / n)


def slice_corners(
    rotation: Float[AnyArray, "3 3"], n: int, padded: int, kept: int | None = None
) -> tuple[Int[Array, "8 pixels"], Float[Array, "8 pixels"], Bool[Array, "pixels"]]:
    """Return flat grid indices and weights of the 8 neighbours, and where k was turned to -k.

    Pixels beyond Nyquist have zero weight, and so have those that a stretched rotation takes beyond the volume's.

    Parameters
    ----------
    rotation : model to image.
    n : box size of the image, pixels.
    padded : edge of the half-space grid (padded, padded, padded // 2 + 1).
    kept : pixels of the image after Fourier cropping, when only these are wanted; None for n.
    """
    frequencies = jnp.asarray(cropped_frequencies(n, kept)).reshape(-1, 2)
    point = slice_frequencies(rotation, frequencies) * padded
    inside = jnp.sum(frequencies**2, axis=-1) <= 0.25
    inside &= jnp.sum(point**2, axis=-1) <= 0.25 * ROUNDED * padded**2
    turned = point[:, 0] < 0
    point = jnp.where(turned[:, None], -point, point)
    low = jnp.floor(point)
    fraction = point - low
    low = low.astype(jnp.int32)
    half = padded // 2 + 1
    indices, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (low[:, axis] + corner[axis] for axis in range(3))
        share = [fraction[:, a] if corner[a] else 1 - fraction[:, a] for a in range(3)]
        x = jnp.minimum(x, half - 1)
        indices.append(((z % padded) * padded + y % padded) * half + x)
        weights.append(share[0] * share[1] * share[2] * inside)
    return jnp.stack(indices), jnp.stack(weights), turned


def central_slice(
    transform: Complex[Array, "padded padded half"], rotation: Float[AnyArray, "3 3"], n: int, kept: int | None = None
) -> Complex[Array, "kept half2"]:
    """Return the slice of box n at one rotation; zero beyond Nyquist.

    Parameters
    ----------
    transform : from `prepare_volume`.
    rotation : model to image.
    n : box size of the image, pixels; that of the volume.
    kept : as in `slice_corners`.
    """
    indices, weights, turned = slice_corners(rotation, n, transform.shape[0], kept)
    values = jnp.sum(transform.reshape(-1)[indices] * weights, axis=0)
    values = jnp.where(turned, jnp.conj(values), values)
    kept = kept or n
    return values.reshape(kept, kept // 2 + 1)


def hermitian_plane(grid: Inexact[AnyArray, "padded padded half"]) -> Inexact[np.ndarray, "padded padded half"]:
    """Add to the plane kx = 0 its own mirror, on the host: V(k) += conj V(-k), the samples that fell at -k."""
    whole = np.array(grid)
    mirror = (-np.arange(len(whole))) % len(whole)
    whole[:, :, 0] += np.conj(whole[mirror][:, mirror, 0])
    return whole


def project_volume(
    transform: Complex[Array, "padded padded half"], pose: Pose, n: int, pixel_size: float, kept: int | None = None
) -> Complex[Array, "kept half2"]:
    """Return the Fourier image of a volume at one pose, without CTF.

    Parameters
    ----------
    transform : from `prepare_volume`.
    pose : one rotation (3, 3) and shift (2,) in Å.
    n : box size, pixels.
    pixel_size : Å.
    kept : as in `slice_corners`.
    """
    plane = central_slice(transform, pose.rotation, n, kept)
    return moved(plane, pose, cropped_frequencies(n, kept) / np.float32(pixel_size))
