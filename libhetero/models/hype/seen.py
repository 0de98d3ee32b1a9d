"""What the encoder is given: the centred image, cleaned of its CTF, and from where it is seen.

The image is moved to the centre of its box and turned in its plane to psi = 0 (its pose is known), after

    "flipped"   sign(CTF) X                          as published
    "wiener"    CTF X / (CTF² + 1 / SNR)             SNR of each ring, without CTF, measured on a sample
    "real"      X

and cut by a soft disc. With psi gone, what is left of the pose is the direction of view: the third row
of the rotation, a unit vector d in the molecule's frame, given as the monomials of d up to `DEGREE`.

Or the cleaned image is lifted: at point x of a grid in the molecule's frame stands the pixel that x is
projected to, so that images of one molecule are alike whatever their pose, as its backprojection is.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from libhetero.models.hype.config import HypeConfig
from libhetero.physics.arrays import AnyArray
from libhetero.physics.correlation import ring_sum
from libhetero.physics.fourier import (
    crop_fourier_image,
    dft_image,
    fourier_image,
    half_plane,
    inverse_dft_image,
    ring_index,
)
from libhetero.physics.masks import soft_disc
from libhetero.physics.observation import moved_back, transfer
from libhetero.physics.rotations import HIGHEST, matrix_to_euler
from libhetero.records import Batch, Observation

DEGREE = 4
MONOMIALS = tuple(
    chosen for degree in range(1, DEGREE + 1) for chosen in combinations_with_replacement(range(3), degree)
)


def seen_image(
    image: Float[AnyArray, "n n"],
    observation: Observation,
    config: HypeConfig,
    pixel_size: float,
    snr: Float[np.ndarray, "rings"],
    kept: Float[Array, "n half"] | None = None,
) -> Float[Array, "*m"]:
    """Return what the encoder sees of one image, of shape `config.seen_shape(n)`.

    Parameters
    ----------
    image, observation : of one particle.
    config : which input, and how it is cut.
    pixel_size : Å.
    snr : power of the signal without CTF over that of the noise, rings 0 … n // 2.
    kept : by what each Fourier pixel of the image is multiplied (`sampling`); None for 1.
    """
    n = image.shape[0]
    frequencies, rotation = half_plane(n, pixel_size), observation.pose.rotation
    passed = transfer(observation, frequencies)
    if config.encoder_input == "flipped":
        cleaned = jnp.sign(passed)
    elif config.encoder_input == "wiener":
        noise = 1 / np.maximum(snr, 1e-6)
        cleaned = passed / (passed**2 + noise[np.minimum(ring_index(n), len(snr) - 1)])
    else:
        cleaned = jnp.ones_like(passed)
    m = config.seen_box(n)
    if kept is not None:
        cleaned = cleaned * kept
    plane = moved_back(dft_image(image), observation.pose, frequencies) * cleaned
    centred = inverse_dft_image(crop_fourier_image(plane, m), m)
    disc = soft_disc(m, config.window * m / 2, m / 16)
    shape = config.seen_shape(n)
    if len(shape) == 3:
        return lifted(centred * disc, rotation, shape[0], config.window)
    if config.align:
        centred = turn_in_plane(centred, matrix_to_euler(rotation)[2])
    return centred * disc


def lifted(
    image: Float[AnyArray, "m m"], rotation: Float[AnyArray, "3 3"], side: int, extent: float
) -> Float[Array, "side side side"]:
    """Return the image at (R x)_xy for every point x of a grid (z, y, x), by bilinear interpolation.

    Parameters
    ----------
    image : centred.
    rotation : R.
    side : points along each side of the grid.
    extent : half the grid's side, fraction of half the box.
    """
    m = image.shape[0]
    axis = (np.arange(side) + 0.5 - side / 2) * (extent * m / side)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = jnp.asarray(np.stack([x, y, z]).reshape(3, -1), jnp.float32)
    across = jnp.matmul(rotation[:2], points, precision=HIGHEST) + m // 2
    return map_coordinates(image, [across[1], across[0]], order=1, mode="constant").reshape((side,) * 3)


def view_features(rotation: Float[AnyArray, "3 3"]) -> Float[Array, "monomials"]:
    """Return the monomials of the direction of view up to `DEGREE`: d_x, d_y, d_z, d_x², d_x d_y, …"""
    direction = rotation[2]
    return jnp.stack([jnp.prod(direction[jnp.asarray(chosen)]) for chosen in MONOMIALS])


def turn_in_plane(image: Float[AnyArray, "n n"], psi: Float[Array, ""]) -> Float[Array, "n n"]:
    """Return the image as it would be at psi = 0 (radians), by bilinear interpolation.

    With R = Rz(psi) R', x' = cos(psi) x + sin(psi) y and y' = cos(psi) y - sin(psi) x.
    """
    n = image.shape[0]
    axis = jnp.arange(n) - n // 2
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    cosine, sine = jnp.cos(psi), jnp.sin(psi)
    source = [cosine * y - sine * x + n // 2, cosine * x + sine * y + n // 2]
    return map_coordinates(image, source, order=1, mode="constant")


def measure_spectra(sample: Batch, n: int, pixel_size: float) -> tuple[Float[np.ndarray, "rings"], float]:
    """Return the power of the signal by Fourier radius 0 … n // 2, and that of the noise.

    Per ring, (⟨|X|²⟩ - noise) / ⟨CTF²⟩, the noise taken from the outermost rings, floored at a
    millionth of the largest; of Fourier images divided by n, so that white noise of unit variance per
    pixel has unit power.

    Parameters
    ----------
    sample : some hundred particles; those of weight 0 are left out.
    n : box, pixels.
    pixel_size : Å.
    """

    frequencies = half_plane(n, pixel_size)

    def one(image: Array, observation: Observation) -> tuple[Array, Array]:
        power = jnp.abs(fourier_image(image) / n) ** 2
        rings = n // 2 + 1
        count = ring_sum(jnp.ones_like(power), rings)
        passed = transfer(observation, frequencies) ** 2
        return ring_sum(power, rings) / count, ring_sum(passed, rings) / count

    power, passed = jax.jit(jax.vmap(one))(sample.images, sample.observation)
    weight = np.asarray(sample.weight)
    power = np.average(np.asarray(power), axis=0, weights=weight)
    passed = np.average(np.asarray(passed), axis=0, weights=weight)
    noise = float(power[-2:].mean())
    signal = (power - noise) / np.maximum(passed, 1e-3)
    return np.maximum(signal, 1e-6 * signal[1:].max()).astype(np.float32), noise
