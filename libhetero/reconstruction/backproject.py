"""CTF-weighted backprojection, streaming over batches, with half-maps.

Every image X_i = C_i P_i V + noise is moved back to its origin, multiplied by its CTF and spread onto an
oversampled half space:

    N(k) = Σ_i P_i*(C_i X_i)      D(k) = Σ_i P_i*(C_i²)      V(k) = N(k) / (D(k) + E(|k|))

which is the Wiener filter for white noise. E starts small; the correlation h of the two half-maps in a
shell then tells the signal-to-noise ratio of the whole there, 2h / (1 - h), so that
E = ⟨D⟩ (1 - h) / 2h. Images need no more memory than one batch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.errors import DataError
from libhetero.physics.correlation import fourier_shell_correlation
from libhetero.physics.fourier import (
    fourier_image,
    frequencies_2d,
    frequencies_3d,
    half_plane,
    hermitian_weight,
    real_volume,
)
from libhetero.physics.observation import backprojected, transfer
from libhetero.physics.pytrees import register_record
from libhetero.physics.slices import PADDING, hermitian_plane, kernel_correction, slice_corners
from libhetero.records import Batch, Observation, Pose

SMALL = 1e-3  # E / ⟨D⟩ before the half-maps are known
LEAST_CORRELATION, MOST_CORRELATION = 0.01, 0.9995


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One map and how far it can be trusted.

    Parameters
    ----------
    volume : (n, n, n) float32, from all particles.
    half_maps : (2, n, n, n) float32, from the even and the odd ones.
    fsc : (n // 2,), correlation of the half-maps, see `libhetero.metrics.fsc`.
    particles : how many particles went in.
    """

    volume: np.ndarray
    half_maps: np.ndarray
    fsc: np.ndarray
    particles: int


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


def empty_sums(n: int, padding: int = PADDING) -> Sums:
    """Return sums over no image, for box n (voxels, even), oversampled `padding` times."""
    padded = padding * n
    shape = (2, padded, padded, padded // 2 + 1)
    return Sums(jnp.zeros(shape, jnp.complex64), jnp.zeros(shape, jnp.float32))


def _planes(
    image: Float[Array, "n n"], observation: Observation, weight: Float[Array, ""], pixel_size: float
) -> tuple[Complex[Array, "n half"], Float[Array, "n half"]]:
    """Return C X at its origin, and C², of one image inside Nyquist.

    A pixel off the column kx = 0 stands for k and -k but is spread once; one on it is stored twice.
    """
    n = image.shape[0]
    frequencies = half_plane(n, pixel_size)
    inside = np.linalg.norm(np.rint(frequencies_2d(n) * n), axis=-1) < n / 2
    share = 0.5 * weight * (inside * hermitian_weight(n))
    plane = backprojected(fourier_image(image), observation, frequencies)
    return share * plane, share * transfer(observation, frequencies) ** 2


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
    indices = indices + half[:, None, None] * (sums.numerator.size // 2)
    numerator = sums.numerator.reshape(-1).at[indices].add(planes)
    weight = sums.weight.reshape(-1).at[indices].add(squares)
    return Sums(numerator.reshape(sums.numerator.shape), weight.reshape(sums.weight.shape))


def _shells(n: int, padded: int) -> np.ndarray:
    """Return the nearest shell of the box n of every padded voxel, those past Nyquist at n // 2."""
    radius = np.linalg.norm(frequencies_3d(padded).astype(np.float64), axis=-1) * n
    return np.minimum(np.rint(radius), n // 2).astype(np.int32)


@functools.partial(jax.jit, static_argnames="n")
def _divide(
    numerator: Complex[Array, "padded padded half"],
    weight: Float[Array, "padded padded half"],
    shells: Int[Array, "padded padded half"],
    ratio: Float[Array, "shells"],
    n: int,
) -> Float[Array, "n n n"]:
    """Return the map N / (D + E) with E = ratio of each shell times the mean of D there."""
    padded = numerator.shape[0]
    numerator, weight = hermitian_plane(numerator), hermitian_plane(weight)
    total = jax.ops.segment_sum(weight.reshape(-1), shells.reshape(-1), n // 2 + 1)
    count = jax.ops.segment_sum(jnp.ones(weight.size), shells.reshape(-1), n // 2 + 1)
    regularisation = (jnp.append(ratio, ratio[-1]) * total / count)[shells]
    divisor = weight + regularisation
    fourier = jnp.where(divisor > 0, numerator / jnp.where(divisor > 0, divisor, 1.0), 0.0)
    before = padded // 2 - n // 2
    inside = slice(before, before + n)
    return real_volume(fourier, padded)[inside, inside, inside] * kernel_correction(n, padded)


def solve(sums: Sums, n: int, particles: int) -> Reconstruction:
    """Return the maps that the sums stand for.

    Parameters
    ----------
    sums : from `add_batch`.
    n : box size, voxels.
    particles : how many went in, to be reported.
    """
    plain = jnp.full(n // 2, SMALL)
    shells = jnp.asarray(_shells(n, sums.numerator.shape[1]))
    half_maps = [_divide(sums.numerator[h], sums.weight[h], shells, plain, n) for h in range(2)]
    fsc = np.asarray(fourier_shell_correlation(*half_maps))
    trusted = np.clip(fsc, LEAST_CORRELATION, MOST_CORRELATION)
    ratio = jnp.asarray((1 - trusted) / (2 * trusted))
    volume = _divide(sums.numerator.sum(axis=0), sums.weight.sum(axis=0), shells, ratio, n)
    return Reconstruction(np.asarray(volume), np.stack(half_maps), fsc, particles)


def reconstruct(
    batches: Iterable[Batch],
    n: int,
    pixel_size: float,
    half_set: Int[np.ndarray, "particles"] | None = None,
    padding: int = PADDING,
    operators: Float[np.ndarray, "copies 3 3"] | None = None,
) -> Reconstruction:
    """Reconstruct one map from all images of a stream.

    Parameters
    ----------
    batches : images (batch, n, n) with the CTF in them, protein white; poses model to image.
    n : box size, pixels (even).
    pixel_size : Å.
    half_set : 0 or 1 for each place in the particle set; None takes images alternately.
    padding : how finely Fourier space is sampled.
    operators : of the structure's symmetry; every image is added at each pose R S. None for C1.

    Raises
    ------
    DataError : if the stream holds no image.
    """
    sums, particles = empty_sums(n, padding), 0
    for batch in batches:
        weight = np.asarray(batch.weight)
        order = particles + np.cumsum(weight > 0)
        half = order % 2 if half_set is None else np.asarray(half_set)[np.asarray(batch.index)]
        for operator in np.eye(3, dtype=np.float32)[None] if operators is None else operators:
            rotation = np.asarray(batch.pose.rotation) @ operator
            turned = dataclasses.replace(batch, pose=Pose(rotation=rotation, shift=batch.pose.shift))
            sums = add_batch(sums, turned, jnp.asarray(half, jnp.int32), pixel_size)
        particles += int(np.count_nonzero(weight > 0))
    if particles == 0:
        raise DataError("backprojection: found 0 images; expected at least one. Check the selection.")
    return solve(sums, n, particles)
