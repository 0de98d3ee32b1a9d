"""Discrete Fourier transforms about the box centre.

The origin of an image or a volume is the pixel n // 2, so

    F(k) = Σ_p image(p) exp(-2πi k·p / n),   p measured from n // 2,

which is `rfftn(ifftshift(image))`: unnormalised, DC at index 0, last axis kx ≥ 0. Hermitian
symmetry F(-k) = conj F(k) supplies the other half. Frequencies in cycles per pixel run
from -1/2 to 1/2 and are ordered (x, y) or (x, y, z); divide by the pixel size for 1/Å.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST


def fourier_image(image: Float[AnyArray, "n n"]) -> Complex[Array, "n half"]:
    """Transform a real image about its centre, F = rfft2(ifftshift(image))."""
    return jnp.fft.rfft2(jnp.fft.ifftshift(image, axes=(-2, -1)))


def real_image(fourier: Complex[AnyArray, "n half"], n: int) -> Float[Array, "n n"]:
    """Invert `fourier_image` for box size n (pixels)."""
    return jnp.fft.fftshift(jnp.fft.irfft2(fourier, s=(n, n)), axes=(-2, -1))


def dft_image(image: Float[AnyArray, "n n"], grid: int | None = None) -> Complex[Array, "m half"]:
    """Return `fourier_image` by matrix products.

    With C and S the cosines and sines of 2πk(p - n // 2)/n along an axis,

        F = (C_y - iS_y) I (C_x - iS_x)ᵀ.

    For steps over several devices: XLA divides a batch of products, where every device would be sent a
    whole batch of images for a fast transform. For images of 128² they take a thousandth of a step of
    CryoHype; for large images `fourier_image` is faster.

    Parameters
    ----------
    image : real.
    grid : m, to return only ky = -m/2 … m/2 - 1 and kx = 0 … m/2, for an even m below n; None for all.
    """
    n = image.shape[-1]
    left, right = _dft_tables(n, grid or n)
    product = jnp.matmul(jnp.matmul(left, image, precision=HIGHEST), right.T, precision=HIGHEST)
    rows, half = len(left) // 2, len(right) // 2
    cc, cs = product[:rows, :half], product[:rows, half:]
    sc, ss = product[rows:, :half], product[rows:, half:]
    return jax.lax.complex(cc - ss, -(cs + sc))


def inverse_dft_image(fourier: Complex[AnyArray, "n half"], n: int) -> Float[Array, "n n"]:
    """Return `real_image` by matrix products, as `dft_image` does."""
    left, right = _dft_tables(n, n)
    cosine, sine = left[:n].T, left[n:].T
    real, imaginary = jnp.real(fourier), jnp.imag(fourier)
    turned = jnp.matmul(  # real and -imaginary part of the sum over ky
        np.block([[cosine, -sine], [-sine, -cosine]]), jnp.concatenate([real, imaginary]), precision=HIGHEST
    )
    weighted = right * np.tile(hermitian_weight(n), 2)[:, None] / n**2
    both = jnp.concatenate([turned[:n], turned[n:]], axis=1)
    return jnp.matmul(both, weighted.astype(np.float32), precision=HIGHEST)


@functools.cache
def _dft_tables(n: int, m: int) -> tuple[Float[np.ndarray, "rows n"], Float[np.ndarray, "columns n"]]:
    """Return cosines above sines of the m frequencies along y and the m // 2 + 1 along x."""
    place = np.arange(n) - n // 2
    angles = (
        2 * np.pi * (np.outer(frequency, place) % n) / n
        for frequency in (np.fft.fftfreq(m, 1 / m), np.arange(m // 2 + 1))
    )
    y, x = (np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32) for angle in angles)
    return y, x


def fourier_volume(volume: Float[AnyArray, "n n n"]) -> Complex[Array, "n n half"]:
    """Transform a real volume (z, y, x) about its centre."""
    return jnp.fft.rfftn(jnp.fft.ifftshift(volume, axes=(-3, -2, -1)), axes=(-3, -2, -1))


def real_volume(fourier: Complex[AnyArray, "n n half"], n: int) -> Float[Array, "n n n"]:
    """Invert `fourier_volume` for box size n (voxels)."""
    volume = jnp.fft.irfftn(fourier, s=(n, n, n), axes=(-3, -2, -1))
    return jnp.fft.fftshift(volume, axes=(-3, -2, -1))


def frequencies_2d(n: int) -> Float[np.ndarray, "n half 2"]:
    """Return the (kx, ky) of every half-plane pixel, cycles per pixel."""
    ky, kx = np.meshgrid(np.fft.fftfreq(n), np.fft.rfftfreq(n), indexing="ij")
    return np.stack([kx, ky], axis=-1).astype(np.float32)


def half_plane(n: int, pixel_size: float) -> Float[np.ndarray, "n half 2"]:
    """Return the (kx, ky) of every half-plane pixel of box n, 1/Å.

    The low rings of an image are a half plane too, of m < n pixels of n/m the size.

    Parameters
    ----------
    n : box size, pixels.
    pixel_size : Å.
    """
    return frequencies_2d(n) / np.float32(pixel_size)


def frequencies_3d(n: int) -> Float[np.ndarray, "n n half 3"]:
    """Return the (kx, ky, kz) of every half-space voxel, cycles per pixel."""
    full, half = np.fft.fftfreq(n), np.fft.rfftfreq(n)
    kz, ky, kx = np.meshgrid(full, full, half, indexing="ij")
    return np.stack([kx, ky, kz], axis=-1).astype(np.float32)


def hermitian_weight(n: int) -> Float[np.ndarray, "half"]:
    """Return how often each half-plane column stands in the full plane: 1 or 2.

    Columns kx = 0 and, for even n, kx = n / 2 hold both k and -k; every other stands for two.
    """
    weight = np.full(n // 2 + 1, 2.0, np.float32)
    weight[0] = 1.0
    if n % 2 == 0:
        weight[-1] = 1.0
    return weight


def ring_index(n: int) -> Int[np.ndarray, "n half"]:
    """Return the nearest integer radius of every half-plane pixel, int32."""
    radius = np.linalg.norm(frequencies_2d(n).astype(np.float64), axis=-1) * n
    return np.floor(radius + 0.5).astype(np.int32)


def disc_indices(n: int, radius: float | None = None) -> Int[np.ndarray, "pixels"]:
    """Return flat half-plane indices of the pixels with 0 < |k| < radius that carry information.

    Along kx = 0 the pixels k and -k are conjugates, so only ky > 0 is kept.

    Parameters
    ----------
    n : box size, pixels.
    radius : in Fourier pixels; default n / 2, Nyquist, itself left out because there k and -k
        share one pixel of an even box.
    """
    frequency = np.rint(frequencies_2d(n).astype(np.float64) * n)
    length = np.linalg.norm(frequency, axis=-1)
    inside = (length > 0) & (length < (n / 2 if radius is None else radius))
    inside &= ~((frequency[..., 0] == 0) & (frequency[..., 1] < 0))
    return np.flatnonzero(inside).astype(np.int32)


def phase_ramp(frequencies: Float[AnyArray, "*pixels 2"], shift: Float[AnyArray, "2"]) -> Complex[Array, "*pixels"]:
    """Return exp(-2πi k·t), which moves an image by +t.

    Parameters
    ----------
    frequencies : (x, y), cycles per unit of `shift`.
    shift : (x, y), pixels or Å.
    """
    turns = frequencies[..., 0] * shift[0] + frequencies[..., 1] * shift[1]
    turns = turns - jnp.round(turns)
    angle = -2 * jnp.pi * turns
    return jnp.cos(angle) + 1j * jnp.sin(angle)


def crop_fourier_image(fourier: Complex[Array, "n half"], m: int) -> Complex[Array, "m half2"]:
    """Keep the lowest frequencies of a half plane, for a box of m ≤ n pixels of n/m the size.

    The result is scaled by (m/n)² so that pixel values keep their level. Frequencies at the new
    Nyquist of an even m are made Hermitian, as the transform of a real image must be.
    """
    n = fourier.shape[-2]
    if m == n:
        return fourier
    positive = (m + 1) // 2
    negative = m - positive
    rows = jnp.concatenate([fourier[..., :positive, :], fourier[..., n - negative :, :]], axis=-2)
    kept = rows[..., : m // 2 + 1]
    if m % 2 == 0:
        kept = hermitian_nyquist(kept, m)
    return kept * (m / n) ** 2


def hermitian_nyquist(kept: Complex[Array, "m half"], m: int) -> Complex[Array, "m half"]:
    """Average the columns kx = 0 and kx = m / 2 with their mirrors: they stand for k and -k."""
    mirror = (-np.arange(m)) % m
    for column in (0, m // 2):
        values = kept[..., :, column]
        kept = kept.at[..., :, column].set(0.5 * (values + jnp.conj(values[..., mirror])))
    return kept


def crop_volume(volume: Float[AnyArray, "n n n"], m: int) -> Float[AnyArray, "m m m"]:
    """Resample a map to a box of m ≤ n voxels of n/m the size by keeping its low frequencies.

    Voxel values keep their level. Both boxes are even.
    """
    n = volume.shape[-1]
    if m == n:
        return volume
    low, high = np.arange(m // 2), np.arange(n - m // 2, n)
    kept = np.concatenate([low, high])
    fourier = fourier_volume(volume)[kept][:, kept][:, :, : m // 2 + 1]
    return real_volume(fourier * (m / n) ** 3, m)
