"""Projection of a Gaussian mixture, straight into Fourier space.

    F(k) = Σ_i A_i exp(-2π² σ_i² |k|²) exp(-2πi k·x_i),   x_i = (R p_i + t)_{xy}

Phase and width separate into x and y, so the sum over Gaussians is one real matrix product of
cosine and sine tables for ky, kx ≥ 0; the half plane at -ky is the same products with other signs.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from libhetero.physics.arrays import AnyArray, Number
from libhetero.physics.fourier import real_volume
from libhetero.physics.rotations import HIGHEST, rotate_points
from libhetero.physics.trigonometry import cosine_sine
from libhetero.records import Gaussians, Pose


def project_gaussians(gaussians: Gaussians, pose: Pose, n: int, pixel_size: Number) -> Complex[Array, "n half"]:
    """Return the Fourier image of one mixture at one pose, without CTF.

    Parameters
    ----------
    gaussians : position (N, 3) and sigma (N,) in Å, amplitude (N,).
    pose : one rotation (3, 3) and shift (2,) in Å.
    n : box size, pixels (even).
    pixel_size : Å.

    Returns
    -------
    (n, n // 2 + 1), DC equal to Σ A_i; `real_image` of it sums to Σ A_i.
    """
    left, right = _both_tables(gaussians.position, gaussians.sigma, pose, n, pixel_size)
    left = left * gaussians.amplitude
    product = jnp.matmul(left, right.T, precision=HIGHEST)
    half = n // 2 + 1
    cc, cs = product[:half, :half], product[:half, half:]
    sc, ss = product[half:, :half], product[half:, half:]
    positive = jax.lax.complex(cc - ss, -(sc + cs))
    negative = jax.lax.complex(cc + ss, sc - cs)
    return jnp.concatenate([positive[: n // 2], negative[n // 2 : 0 : -1]])


def project_amplitudes(
    position: Float[AnyArray, "points 3"],
    sigma: Float[AnyArray, "points"],
    amplitudes: Float[AnyArray, "sets points"],
    pose: Pose,
    n: int,
    pixel_size: Number,
) -> Float[Array, "sets 2 n half"]:
    """Return `project_gaussians` for several sets of amplitudes of the same Gaussians.

    The result is real: real and imaginary parts along the second axis.
    """
    left, right = _both_tables(position, sigma, pose, n, pixel_size)
    weighted = (left[None] * amplitudes[:, None]).reshape(-1, left.shape[1])
    product = jnp.matmul(weighted, right.T, precision=HIGHEST)
    return _half_planes(product.reshape(len(amplitudes), len(left), len(left)), n)


def group_quadrants(
    position: Float[AnyArray, "points 3"],
    sigma: Float[AnyArray, "points"],
    amplitudes: Float[AnyArray, "groups members"],
    pose: Pose,
    n: int,
    pixel_size: Number,
) -> Float[Array, "groups side side"]:
    """Return `project_gaussians` for each of several groups of as many Gaussians, group after group.

    In the quadrants of `libhetero.physics.quadrants` (n is even): one matrix product for each group,
    contracted over its members and over cosine and sine.
    """
    shape = (n // 2 + 1, *np.shape(amplitudes))
    tables = _tables_of_pose(position, sigma, pose, n, pixel_size)
    (cosine_y, sine_y), (cosine_x, sine_x) = ([table.reshape(shape) for table in pair] for pair in tables)
    cosine_y, sine_y = cosine_y * amplitudes, sine_y * amplitudes
    left = jnp.stack([jnp.concatenate([cosine_y, sine_y]), jnp.concatenate([sine_y, cosine_y])])
    right = jnp.stack([jnp.concatenate([cosine_x, cosine_x]), jnp.concatenate([-sine_x, sine_x])])
    return jnp.einsum("tygm,txgm->gyx", left, right, precision=HIGHEST)


def _both_tables(position: AnyArray, sigma: AnyArray, pose: Pose, n: int, pixel_size: Number) -> tuple[Array, Array]:
    """Return cosines above sines of y and of x, (2 (n // 2 + 1), N) each."""
    y, x = _tables_of_pose(position, sigma, pose, n, pixel_size)
    return jnp.concatenate(y), jnp.concatenate(x)


def _tables_of_pose(
    position: AnyArray, sigma: AnyArray, pose: Pose, n: int, pixel_size: Number
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return `_tables` of y and of x in the image."""
    placed = rotate_points(pose.rotation, jnp.asarray(position))[:, :2] + pose.shift
    sigma = jnp.asarray(sigma)
    y, x = (_tables(placed[:, axis], sigma, n, pixel_size) for axis in (1, 0))
    return y, x


def _half_planes(product: Float[Array, "sets rows columns"], n: int) -> Float[Array, "sets 2 n half"]:
    """Join the products of cosines and sines to real and imaginary parts of half planes."""
    half = n // 2 + 1
    cc, cs = product[:, :half, :half], product[:, :half, half:]
    sc, ss = product[:, half:, :half], product[:, half:, half:]
    real = jnp.concatenate([(cc - ss)[:, : n // 2], (cc + ss)[:, n // 2 : 0 : -1]], axis=1)
    imaginary = jnp.concatenate([-(sc + cs)[:, : n // 2], (sc - cs)[:, n // 2 : 0 : -1]], axis=1)
    return jnp.stack([real, imaginary], axis=1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _repeat(values: Float[AnyArray, "points"], rows: int) -> Float[Array, "rows points"]:
    """Return the same values in every row.

    The derivative is written row by row. Its transpose is then a sum of whole rows, where that of a
    broadcast goes down one column after the other, which is slow on a CPU.
    """
    return jnp.broadcast_to(values, (rows, *values.shape))


@_repeat.defjvp
def _repeat_jvp(rows, primals, tangents):
    return _repeat(*primals, rows), jnp.stack([tangents[0]] * rows)


def _tables(
    position: Float[AnyArray, "points"], sigma: Float[AnyArray, "points"], n: int, pixel_size: Number
) -> tuple[Float[Array, "half points"], Float[Array, "half points"]]:
    """Return exp(-2π²σ²s²) · (cos 2πsx, sin 2πsx) at the frequencies s ≥ 0 of one axis."""
    half = n // 2 + 1
    frequency = jnp.arange(half, dtype=jnp.float32)[:, None] / (n * pixel_size)
    cosine, sine = cosine_sine(frequency * _repeat(position, half))
    width = jnp.exp(-2 * jnp.pi**2 * frequency**2 * _repeat(sigma**2, half))
    return cosine * width, sine * width


def transform_gaussians(gaussians: Gaussians, n: int, pixel_size: Number) -> Complex[Array, "n n half"]:
    """Return the 3-D transform of one mixture about the box centre, as `fourier_volume` of its map.

        F(k) = Σ_i A_i exp(-2π² σ_i² |k|²) exp(-2πi k·p_i)

    Parameters
    ----------
    gaussians : position (N, 3) and sigma (N,) in Å, amplitude (N,).
    n : box size, voxels (even); at Nyquist the transform of a real map is real, and so is this.
    pixel_size : Å.
    """
    octants = transform_octants(gaussians, n, pixel_size)
    signs = jax.lax.complex(octants[:, 0], octants[:, 1])  # (kz ≥ 0, sign of z, sign of y, ky, kx)
    low, high = slice(0, n // 2), slice(n // 2, 0, -1)
    rows = jnp.concatenate([signs[:, :, 0, low], signs[:, :, 1, high]], axis=2)
    return jnp.concatenate([rows[low, 0], rows[high, 1]])


def transform_octants(gaussians: Gaussians, n: int, pixel_size: Number) -> Float[Array, "half 2 2 2 half half"]:
    """Return real and imaginary part of `transform_gaussians` where all |kz|, |ky|, kx run upwards.

    The axes are |kz|, (real, imaginary), (kz, -kz), (ky, -ky), |ky|, kx. Products of cosines and sines
    along the axes, one real matrix product for each kz, are the same for every octant; a table of
    signs tells the octants apart.
    """
    half = n // 2 + 1
    tables = (_tables(gaussians.position[:, i], gaussians.sigma, n, pixel_size) for i in range(3))
    (cosine_x, sine_x), (cosine_y, sine_y), (cosine_z, sine_z) = (
        (cosine, sine.at[n // 2].set(0.0)) for cosine, sine in tables
    )
    right = jnp.concatenate([cosine_x, sine_x]).T
    plane = jnp.concatenate([cosine_y, sine_y]) * gaussians.amplitude
    signs = jnp.asarray(_octant_signs())

    @jax.checkpoint
    def one(z_row: Float[Array, "2 points"]) -> Float[Array, "2 2 2 half half"]:
        left = (z_row[:, None, :] * plane[None]).reshape(4 * half, -1)
        product = jnp.matmul(left, right, precision=HIGHEST).reshape(2, 2, half, 2, half)
        return jnp.einsum("rabzyx,zypxq->rabpq", signs, product, precision=HIGHEST)

    return jax.lax.map(one, jnp.stack([cosine_z, sine_z], axis=1))


def _octant_signs() -> Float[np.ndarray, "part sign_z sign_y z y x"]:
    """Return how products of (cos, sin) along z, y, x add up."""
    table = np.zeros((2, 2, 2, 2, 2, 2), np.float32)
    for z, y, x in np.ndindex(2, 2, 2):  # 1 where the factor is a sine, -i times its sign
        value = (-1j) ** (z + y + x)
        for a, b in np.ndindex(2, 2):
            signed = value * (-1) ** (z * a + y * b)
            table[0, a, b, z, y, x], table[1, a, b, z, y, x] = signed.real, signed.imag
    return table


def gaussians_to_volume(gaussians: Gaussians, n: int, pixel_size: Number) -> Float[Array, "n n n"]:
    """Return the density of one mixture on a grid (z, y, x) with origin n // 2.

    Summed in Fourier space over the box, so density leaving the box wraps. A voxel holds the
    integral of the density over it: the map sums to Σ A_i.

    Parameters
    ----------
    gaussians : position (N, 3) and sigma (N,) in Å, amplitude (N,).
    n : box size, voxels (even).
    pixel_size : Å.
    """
    return real_volume(transform_gaussians(gaussians, n, pixel_size), n)
