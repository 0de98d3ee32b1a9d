"""Transforms about the box centre as explicit sums over pixels."""

import numpy as np


def centred_axis(n):
    return np.arange(n) - n // 2


def wave_numbers(n):
    """FFT order: 0, 1, … then negative; -n/2 stands at n // 2."""
    return [k if k < (n + 1) // 2 else k - n for k in range(n)]


def fourier_image(image):
    n = image.shape[0]
    y, x = np.meshgrid(centred_axis(n), centred_axis(n), indexing="ij")
    result = np.zeros((n, n // 2 + 1), np.complex128)
    for row, ky in enumerate(wave_numbers(n)):
        for kx in range(n // 2 + 1):
            result[row, kx] = np.sum(image * np.exp(-2j * np.pi * (kx * x + ky * y) / n))
    return result


def fourier_volume(volume):
    n = volume.shape[0]
    z, y, x = np.meshgrid(*[centred_axis(n)] * 3, indexing="ij")
    result = np.zeros((n, n, n // 2 + 1), np.complex128)
    for plane, kz in enumerate(wave_numbers(n)):
        for row, ky in enumerate(wave_numbers(n)):
            for kx in range(n // 2 + 1):
                phase = (kx * x + ky * y + kz * z) / n
                result[plane, row, kx] = np.sum(volume * np.exp(-2j * np.pi * phase))
    return result


def full_plane(half):
    """The other half by F(-k) = conj F(k), one pixel at a time."""
    n = half.shape[0]
    full = np.zeros((n, n), np.complex128)
    for row in range(n):
        for column in range(n):
            if column <= n // 2:
                full[row, column] = half[row, column]
            else:
                full[row, column] = np.conj(half[(-row) % n, n - column])
    return full


def value_at(volume, frequency):
    """The transform of a volume at any (kx, ky, kz), cycles per voxel."""
    n = volume.shape[0]
    z, y, x = np.meshgrid(*[centred_axis(n)] * 3, indexing="ij")
    phase = frequency[0] * x + frequency[1] * y + frequency[2] * z
    return np.sum(volume * np.exp(-2j * np.pi * phase))
