"""CTF-weighted backprojection, streaming over batches, with half-maps.

Every image X_i = C_i P_i V + noise is moved back to its origin, multiplied by its CTF and spread onto an
oversampled half space:

    N(k) = Σ_i P_i*(C_i X_i)      D(k) = Σ_i P_i*(C_i²)      V(k) = N(k) / (D(k) + E(|k|))

which is the Wiener filter; `libhetero.reconstruction.wiener` measures E from the half-sets. Images need no more
memory than one batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.physics.correlation import fourier_shell_correlation
from libhetero.physics.slices import PADDING
from libhetero.reconstruction.deformed import Deformation, add_difference, corrected, no_difference
from libhetero.reconstruction.sums import Sums, add_batch, check_box, empty_sums
from libhetero.reconstruction.wiener import solved
from libhetero.records import Batch, Pose


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One map and how far it can be trusted.

    Parameters
    ----------
    volume : (n, n, n) float32, from all particles, Wiener-filtered: the map to look at and to analyse.
    half_maps : (2, n, n, n) float32, from the even and the odd ones, not filtered: to measure resolution, and for
        post-processing, which filters for itself.
    fsc : (n // 2,), correlation of the half-maps, see `libhetero.metrics.fsc`.
    particles : how many particles went in, the sum of their weights.
    """

    volume: np.ndarray
    half_maps: np.ndarray
    fsc: np.ndarray
    particles: int

    def scaled(self, factor: float) -> Reconstruction:
        """Return the maps with every voxel multiplied."""
        grey = np.float32(factor)
        return dataclasses.replace(self, volume=grey * self.volume, half_maps=grey * self.half_maps)


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
    weights: Float[np.ndarray, "particles"] | None = None,
    deformation: Deformation | None = None,
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
    weights : of each place in the particle set, 0 or more, by which both sums of an image are multiplied, as the
        probability that it is of this molecule; None for 1.
    deformation : how particles move, whose images are put back to rest; None for particles at rest. Of a symmetric
        structure, all copies move alike.

    Raises
    ------
    DataError : if the stream holds no image, or the box is larger than `check_box` lets it be.
    """
    check_box(n, padding)
    sums, particles, counted = empty_sums(n, padding), 0, 0.0
    difference = None if deformation is None else no_difference(deformation.moving)
    for batch in batches:
        if weights is not None:
            weight = np.asarray(batch.weight) * np.asarray(weights, np.float32)[np.asarray(batch.index)]
            batch = dataclasses.replace(batch, weight=weight)
        weight = np.asarray(batch.weight)
        order = particles + np.cumsum(weight > 0)
        half = order % 2 if half_set is None else np.asarray(half_set)[np.asarray(batch.index)]
        half = jnp.asarray(half, jnp.int32)
        displacement = None if deformation is None else deformation.displacements(np.asarray(batch.index))
        for operator in np.eye(3, dtype=np.float32)[None] if operators is None else operators:
            rotation = np.asarray(batch.pose.rotation) @ operator
            turned = dataclasses.replace(batch, pose=Pose(rotation=rotation, shift=batch.pose.shift))
            sums = add_batch(sums, turned, half, pixel_size)
            if deformation is not None:
                difference = add_difference(difference, deformation.moving, turned, displacement, half, pixel_size)
        particles += int(np.count_nonzero(weight > 0))
        counted += float(weight.sum())
    if particles == 0:
        raise DataError("backprojection: found 0 images; expected at least one. Check the selection.")
    if deformation is not None and difference is not None:
        sums = corrected(sums, difference, deformation.moving, n)
    return solve(sums, n, max(round(counted), 1))
