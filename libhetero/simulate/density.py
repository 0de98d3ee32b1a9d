"""The Fourier transform of many points on a grid: Σ_i w_i exp(-2π² v_i |k|²) exp(-2πi k·x_i).

Summed directly it costs points × voxels. Here each point is laid down as a narrow Gaussian on a
grid of half the voxel size, transformed, cut to the wanted band and divided by what the narrow
Gaussian did (a non-uniform FFT with Gaussian gridding). A point's own width v_i only widens its
Gaussian.

References
----------
Greengard and Lee, SIAM Review 46, 443 (2004): choice of the gridding width.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float

OVERSAMPLING = 2
HALF_WIDTH = 5  # fine voxels reached on either side by the narrowest Gaussian
# Variance of the narrowest Gaussian in fine voxels², from equation (9) of the reference.
GRIDDING_VARIANCE = HALF_WIDTH * OVERSAMPLING / (2 * np.pi * (OVERSAMPLING - 0.5))
REACH = HALF_WIDTH / np.sqrt(GRIDDING_VARIANCE)  # standard deviations kept


def structure_factor(
    position: Float[np.ndarray, "points 3"],
    weight: Float[np.ndarray, "points"],
    variance: Float[np.ndarray, "points"],
    n: int,
    pixel_size: float,
) -> Complex[np.ndarray, "n n half"]:
    """Return the transform of weighted Gaussian points, (n, n, n // 2 + 1) complex64, DC first.

    Parameters
    ----------
    position : (A, 3), Å, (x, y, z) from the box centre, all inside the box.
    weight : (A,), integral of each point.
    variance : (A,), Å², of each point (B / 8π² for a B-factor); 0 for a bare point.
    n : box size, voxels (even).
    pixel_size : Å.
    """
    fine = OVERSAMPLING * n
    spacing = pixel_size / OVERSAMPLING
    least = float(np.min(variance))
    narrow = GRIDDING_VARIANCE * spacing**2
    grid = np.zeros((fine, fine, fine), np.float32)
    widths = np.asarray(variance, np.float64) - least + narrow
    _spread(grid, np.asarray(position, np.float64) / spacing, weight, widths / spacing**2)
    transform = scipy.fft.rfftn(np.fft.ifftshift(grid))
    transform = _keep_band(transform, n)
    axis = np.fft.fftfreq(n, pixel_size) ** 2
    half = np.fft.rfftfreq(n, pixel_size) ** 2
    rate = -2 * np.pi**2 * (least - narrow)
    full, half = np.exp(rate * axis).astype(np.float32), np.exp(rate * half).astype(np.float32)
    transform *= full[:, None, None] * full[None, :, None] * half[None, None, :]
    return transform


def _spread(grid: np.ndarray, position: np.ndarray, weight: np.ndarray, variance: np.ndarray) -> None:
    """Add a Gaussian for every point; positions and variances in fine voxels from the centre."""
    reach = np.ceil(REACH * np.sqrt(variance)).astype(int)
    scale = np.asarray(weight, np.float64) / (2 * np.pi * variance) ** 1.5
    for width in np.unique(reach):
        these = np.flatnonzero(reach == width)
        low = np.floor(position[these]).astype(int) - width + 1
        offset = low[..., None] + np.arange(2 * width) - position[these][..., None]
        kernel = np.exp(-0.5 * offset**2 / variance[these][:, None, None])
        kernel[:, 2] *= scale[these][:, None]
        _add_products(grid, low + grid.shape[0] // 2, kernel.astype(np.float32))


def _add_products(grid: np.ndarray, low: np.ndarray, kernel: np.ndarray) -> None:
    """Add z ⊗ y ⊗ x of every point at its window; a window over the edge is cut."""
    fine, width = grid.shape[0], kernel.shape[2]
    cut = np.any((low < 0) | (low + width > fine), axis=1)
    for i in range(len(low)):
        x, y, z = kernel[i]
        i0, j0, k0 = low[i]
        if cut[i]:
            first, last = np.maximum(-low[i], 0), np.minimum(fine - low[i], width)
            x, y, z = (kernel[i, a, first[a] : last[a]] for a in range(3))
            i0, j0, k0 = low[i] + first
        window = grid[k0 : k0 + len(z), j0 : j0 + len(y), i0 : i0 + len(x)]
        window += z[:, None, None] * (y[:, None] * x)


def _keep_band(transform: np.ndarray, n: int) -> np.ndarray:
    """Keep the lowest n frequencies of each axis; at Nyquist the mean of +n/2 and -n/2."""
    for axis in (0, 1):
        positive = np.take(transform, np.arange(n // 2 + 1), axis)
        negative = np.take(transform, np.arange(-(n // 2), 0), axis)
        ends = [slice(None)] * 3
        ends[axis] = slice(0, 1)
        last = [slice(None)] * 3
        last[axis] = slice(-1, None)
        negative[tuple(ends)] = 0.5 * (negative[tuple(ends)] + positive[tuple(last)])
        positive = np.delete(positive, -1, axis)
        transform = np.concatenate([positive, negative], axis)
    return np.ascontiguousarray(transform[:, :, : n // 2 + 1])


def radial_frequency(n: int, pixel_size: float) -> Float[np.ndarray, "n n half"]:
    """Return |k| of every voxel of `structure_factor`, (n, n, n // 2 + 1) float32, 1/Å."""
    full, half = np.fft.fftfreq(n, pixel_size) ** 2, np.fft.rfftfreq(n, pixel_size) ** 2
    square = full[:, None, None] + full[None, :, None] + half[None, None, :]
    return np.sqrt(square).astype(np.float32)


def real_density(transform: Complex[np.ndarray, "n n half"]) -> Float[np.ndarray, "n n n"]:
    """Return the map (n, n, n) float32 (z, y, x), origin n // 2, of a transform; sums to its DC."""
    n = transform.shape[0]
    volume = scipy.fft.irfftn(transform, s=(n, n, n))
    return np.fft.fftshift(volume).astype(np.float32)


def resample_map(
    volume: Float[np.ndarray, "n n n"], pixel_size: float, n: int, new_pixel_size: float
) -> Float[np.ndarray, "m m m"]:
    """Return a map cut or padded to the width n · new_pixel_size, then Fourier-cropped to n voxels.

    Parameters
    ----------
    volume : (m, m, m) float32, origin m // 2, voxels of `pixel_size` Å.
    n : even; at most as fine as the map.
    new_pixel_size : Å.
    """
    wide = 2 * round(n * new_pixel_size / pixel_size / 2)
    volume = cut_or_pad(volume, wide)
    if wide == n:
        return volume
    transform = scipy.fft.rfftn(np.fft.ifftshift(volume))
    return real_density(_keep_band(transform, n))


def cut_or_pad(volume: Float[np.ndarray, "n n n"], n: int) -> Float[np.ndarray, "m m m"]:
    """Return the middle (n, n, n) of a map, or the map in the middle of zeros; origin at n // 2."""
    m = volume.shape[0]
    low = m // 2 - n // 2
    if low >= 0:
        return volume[(slice(low, low + n),) * 3].astype(np.float32)
    return np.pad(volume, [(-low, n - m + low)] * 3).astype(np.float32)
