"""Backprojection by loops: every Fourier pixel and its mirror onto its eight grid neighbours; the filter likewise."""

import numpy as np

from tests.reference.fourier import wave_numbers


def spread(grid, point, value):
    padded = grid.shape[0]
    low = np.floor(point).astype(int)
    for corner in np.ndindex(2, 2, 2):
        weight = 1.0
        for axis in range(3):
            fraction = point[axis] - low[axis]
            weight *= fraction if corner[axis] else 1 - fraction
        x, y, z = (low + corner) % padded
        grid[z, y, x] += weight * value


def add_plane(grid, plane, rotation, padded):
    """Every pixel of the full plane inside Nyquist onto the full grid (z, y, x), k and -k alike."""
    n = plane.shape[0]
    for row, ky in enumerate(wave_numbers(n)):
        for kx in range(n // 2):
            if kx**2 + ky**2 >= (n / 2) ** 2:
                continue
            point = rotation.T @ np.array([kx, ky, 0.0]) * padded / n
            spread(grid, point, plane[row, kx])
            if kx > 0:
                spread(grid, -point, np.conj(plane[row, kx]))


def full_grid(half):
    """The whole Hermitian grid of a half space."""
    padded = len(half)
    whole = np.zeros((padded,) * 3, half.dtype)
    for z, y, x in np.ndindex(whole.shape):
        turned = x > padded // 2
        at = ((-z) % padded, (-y) % padded, padded - x) if turned else (z, y, x)
        whole[z, y, x] = np.conj(half[at]) if turned else half[at]
    return whole


def lengths(padded):
    k = np.fft.fftfreq(padded, 1 / padded)
    return np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)


def averaged(whole):
    """Every voxel with its 26 neighbours, weights ¼, ½, ¼ along each axis."""
    result = np.zeros_like(whole)
    for place in np.ndindex(whole.shape):
        for step in np.ndindex(3, 3, 3):
            weight = np.prod([(0.25, 0.5, 0.25)[one] for one in step])
            result[place] += weight * whole[tuple((p + s - 1) % len(whole) for p, s in zip(place, step, strict=True))]
    return result


def filtered(numerator, weight, ratio, n):
    """The map N / (D + E) of whole grids; D's mean at each |k| is divided out before neighbours are averaged."""
    padded = len(weight)
    length = lengths(padded)
    shell = np.rint(length).astype(int)
    mean = np.array([weight[shell == k].mean() for k in range(shell.max() + 1)])
    mean = np.interp(length, np.arange(len(mean)), np.where(mean > 0, mean, 1))
    divisor = averaged(weight / mean) + np.interp(length * n / padded, np.arange(len(ratio)), ratio)
    fourier = np.where(length < padded / 2, averaged(numerator / mean) / divisor, 0)
    volume = np.fft.fftshift(np.fft.ifftn(fourier).real)
    inside = slice(padded // 2 - n // 2, padded // 2 + n // 2)
    x = (np.arange(n) - n // 2) / padded
    axis = 1 / (np.sinc(x) ** 2 * np.cos(np.pi * x) ** 2)
    return volume[inside, inside, inside] * axis[:, None, None] * axis[None, :, None] * axis[None, None, :]
