"""Correlation of two transforms, ring by ring or shell by shell.

    FRC(r) = Re Σ_r A conj(B) / sqrt( Σ_r |A|²  Σ_r |B|² )

Sums run over the whole plane; a half-plane pixel counts for as many full-plane pixels as
it stands for (`hermitian_weight`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import fourier_volume, frequencies_3d, hermitian_weight, ring_index

FAINTEST = 1e-24


def ring_sum(values: Float[AnyArray, "n half"], rings: int | None = None) -> Float[Array, "rings"]:
    """Sum full-plane values over rings of nearest integer radius 0, 1, … rings - 1.

    Parameters
    ----------
    values : one number per half-plane pixel, equal at k and -k.
    rings : default n // 2, those strictly inside Nyquist.
    """
    n = values.shape[-2]
    rings = n // 2 if rings is None else rings
    index = np.minimum(ring_index(n), rings).reshape(-1)
    weighted = (values * hermitian_weight(n)).reshape(-1)
    return jax.ops.segment_sum(weighted, index, num_segments=rings + 1)[:rings]


def fourier_ring_correlation(
    first: Complex[AnyArray, "n half"], second: Complex[AnyArray, "n half"]
) -> Float[Array, "rings"]:
    """Return the correlation in rings 0 … n // 2 - 1; 0 in a ring that either image leaves empty."""
    cross = ring_sum(jnp.real(first * jnp.conj(second)))
    power = ring_sum(jnp.abs(first) ** 2) * ring_sum(jnp.abs(second) ** 2)
    return safe_ratio(cross, power)


def safe_ratio(cross: Float[Array, "rings"], power: Float[Array, "rings"]) -> Float[Array, "rings"]:
    """Return cross / sqrt(power), 0 (with zero gradient) where power is next to nothing.

    Below `FAINTEST` the gradient, which needs power^(-3/2), is out of float32's range.
    """
    filled = power > FAINTEST
    return jnp.where(filled, cross * jax.lax.rsqrt(jnp.where(filled, power, 1.0)), 0.0)


def fourier_shell_correlation(
    first: Float[AnyArray, "n n n"], second: Float[AnyArray, "n n n"]
) -> Float[Array, "shells"]:
    """Return the FSC of two maps; shell i holds the voxels with i - 1 ≤ |k| < i, and fsc[0] = 1.

    Returns
    -------
    (n // 2,), at spatial frequencies i / n cycles per voxel, i = 0 … n // 2 - 1.
    """
    a, b = fourier_volume(first), fourier_volume(second)
    power = shell_sum(jnp.abs(a) ** 2) * shell_sum(jnp.abs(b) ** 2)
    return safe_ratio(shell_sum(jnp.real(a * jnp.conj(b))), power).at[0].set(1.0)


def shell_index(n: int) -> Int[np.ndarray, "n n half"]:
    """Return the shell i with i - 1 ≤ |k| < i of every half-space voxel, int32.

    Voxels beyond the last shell, n // 2 - 1, all have n // 2.
    """
    radius = np.linalg.norm(np.rint(frequencies_3d(n).astype(np.float64) * n), axis=-1)
    return np.minimum(np.floor(radius).astype(np.int32) + 1, n // 2)


def shell_sum(values: Float[Array, "n n half"]) -> Float[Array, "shells"]:
    """Sum full-space values, equal at k and -k, over the shells 0 … n // 2 - 1; shell 0 is empty."""
    n = values.shape[0]
    weighted = (values * jnp.asarray(hermitian_weight(n))).reshape(-1)
    return jax.ops.segment_sum(weighted, shell_index(n).reshape(-1), n // 2 + 1)[: n // 2]
