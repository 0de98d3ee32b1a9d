"""CTF-weighted backprojection, streaming over batches, with half-maps.

Every image X_i = C_i P_i V + noise is moved back to its origin, multiplied by its CTF and spread onto an
oversampled half space:

    N(k) = Σ_i P_i*(C_i X_i)      D(k) = Σ_i P_i*(C_i²)      V(k) = N(k) / (D(k) + E(|k|))

which is the Wiener filter; `libhetero.reconstruction.wiener` measures E from the half-sets. Images need no more
memory than one batch.
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
from libhetero.physics.fourier import fourier_image, frequencies_2d, half_plane, hermitian_weight
from libhetero.physics.observation import backprojected, transfer
from libhetero.physics.pytrees import register_record
from libhetero.physics.slices import PADDING, slice_corners
from libhetero.reconstruction.wiener import solved
from libhetero.records import Batch, Observation, Pose


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One map and how far it can be trusted.

    Parameters
    ----------
    volume : (n, n, n) float32, from all particles, Wiener-filtered: the map to look at and to analyse.
    half_maps : (2, n, n, n) float32, from the even and the odd ones, not filtered: to measure resolution, and for
        post-processing, which filters for itself.
    fsc : (n // 2,), correlation of the half-maps, see `libhetero.metrics.fsc`.
    particles : how many particles went in.
    """

    volume: np.ndarray
    half_maps: np.ndarray
    fsc: np.ndarray
    particles: int

    def scaled(self, factor: float) -> Reconstruction:
        """Return the maps with every voxel multiplied."""
        grey = np.float32(factor)
        return dataclasses.replace(self, volume=grey * self.volume, half_maps=grey * self.half_maps)


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


def solve(sums: Sums, n: int, particles: int) -> Reconstruction:
    """Return the maps that the sums stand for.

    Parameters
    ----------
    sums : from `add_batch`.
    n : box size, voxels.
    particles : how many went in, to be reported.
    """
    volume, half_maps = solved(np.asarray(sums.numerator), np.asarray(sums.weight), n)
    return Reconstruction(volume, half_maps, _agreement(half_maps), particles)


_correlation = jax.jit(fourier_shell_correlation)  # one program: its steps one by one would each be compiled


def _agreement(half_maps: Float[np.ndarray, "2 n n n"]) -> Float[np.ndarray, "shells"]:
    """Return the FSC of the half-maps, whatever their grey scale: float32 squares it twice."""
    scale = float(np.abs(half_maps).max()) or 1.0
    return np.asarray(_correlation(*(half_maps / scale)))


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
