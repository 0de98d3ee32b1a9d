"""What images add up to in Fourier space, N and D of `libhetero.reconstruction.backproject`, for both half-sets."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from libhetero.errors import DataError
from libhetero.physics.fourier import fourier_image, frequencies_2d, half_plane, hermitian_weight
from libhetero.physics.observation import backprojected, transfer
from libhetero.physics.pytrees import register_record
from libhetero.physics.slices import PADDING, slice_corners
from libhetero.records import Batch, Observation

REACH = 2**31 - 1  # of an index of 32 bits


@register_record
@dataclass(frozen=True, eq=False)
class Sums:
    """N and D of both half-sets.

    Parameters
    ----------
    numerator : (2, padded, padded, padded // 2 + 1) complex64.
    weight : the same shape, float32.
    """

    numerator: Complex[Array, "2 padded padded half"]
    weight: Float[Array, "2 padded padded half"]


def check_box(n: int, padding: int = PADDING) -> None:
    """Refuse a box whose oversampled half space has more points than an index of 32 bits reaches.

    Parameters
    ----------
    n : box size, voxels (even).
    padding : how finely Fourier space is sampled.

    Raises
    ------
    DataError : naming the largest box.
    """

    def points(box: int) -> int:
        return (padding * box) ** 2 * (padding * box // 2 + 1)

    if points(n) > REACH:
        largest = next(box for box in range(n - n % 2, 0, -2) if points(box) <= REACH)
        raise DataError(
            f"a map of {n} voxels to a side: expected at most {largest}. Crop the images in Fourier space (--box "
            f"{largest}), or cut them to a smaller box."
        )


def empty_sums(n: int, padding: int = PADDING) -> Sums:
    """Return sums over no image, for box n (voxels, even), oversampled `padding` times."""
    padded = padding * n
    shape = (2, padded, padded, padded // 2 + 1)
    return Sums(jnp.zeros(shape, jnp.complex64), jnp.zeros(shape, jnp.float32))


def inside_nyquist(n: int) -> Bool[np.ndarray, "n half"]:
    """Return which pixels of the half plane of box n an image is used at."""
    return np.linalg.norm(np.rint(frequencies_2d(n) * n), axis=-1) < n / 2


def returned_plane(
    image: Float[Array, "n n"], observation: Observation, weight: Float[Array, ""], pixel_size: float
) -> Complex[Array, "n half"]:
    """Return C X of one image at its origin, times its weight; 0 at Nyquist and beyond."""
    n = image.shape[0]
    plane = backprojected(fourier_image(image), observation, half_plane(n, pixel_size))
    return weight * inside_nyquist(n) * plane


def _planes(
    image: Float[Array, "n n"], observation: Observation, weight: Float[Array, ""], pixel_size: float
) -> tuple[Complex[Array, "n half"], Float[Array, "n half"]]:
    """Return C X at its origin, and C², of one image inside Nyquist.

    A pixel off the column kx = 0 stands for k and -k but is spread once; one on it is stored twice.
    """
    n = image.shape[0]
    once = 0.5 * hermitian_weight(n)
    share = weight * (once * inside_nyquist(n))
    square = share * transfer(observation, half_plane(n, pixel_size)) ** 2
    return returned_plane(image, observation, weight, pixel_size) * once, square


@functools.partial(jax.jit, static_argnames="pixel_size", donate_argnums=0)
def add_batch(sums: Sums, batch: Batch, half: Int[Array, "batch"], pixel_size: float) -> Sums:
    """Return the sums with a batch of images added.

    Parameters
    ----------
    sums : given up to the result.
    batch : images of the box of `sums`; an image of weight 0 adds nothing.
    half : 0 or 1 for each image.
    pixel_size : Å.
    """
    n = batch.images.shape[-1]
    padded = sums.numerator.shape[1]
    planes, squares = jax.vmap(functools.partial(_planes, pixel_size=pixel_size))(
        batch.images, batch.observation, batch.weight
    )
    corners = functools.partial(slice_corners, n=n, padded=padded)
    indices, shares, turned = jax.vmap(corners)(batch.pose.rotation)
    planes = planes.reshape(len(planes), -1)
    planes = jnp.where(turned, jnp.conj(planes), planes)[:, None] * shares
    squares = squares.reshape(len(squares), 1, -1) * shares
    numerator, weight = (
        _added(total, half, indices, values) for total, values in ((sums.numerator, planes), (sums.weight, squares))
    )
    return Sums(numerator, weight)


def _added(
    total: Inexact[Array, "2 padded padded half"],
    half: Int[Array, "batch"],
    indices: Int[Array, "batch 8 pixels"],
    values: Inexact[Array, "batch 8 pixels"],
) -> Inexact[Array, "2 padded padded half"]:
    """Return sums with values added at flat indices in one half-set or the other.

    Both together are one axis where an index of 32 bits reaches all of it, which is faster, and two where it does not.
    """
    if total.size <= REACH:
        indices = indices + half[:, None, None] * (total.size // 2)
        return total.reshape(-1).at[indices].add(values).reshape(total.shape)
    return total.reshape(2, -1).at[half[:, None, None], indices].add(values).reshape(total.shape)
