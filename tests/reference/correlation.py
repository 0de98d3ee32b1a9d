"""Ring and shell correlations over the full plane or space, by loops over shells."""

import numpy as np

from tests.reference.fourier import full_plane, wave_numbers


def ring_correlation(first, second):
    """Rings of nearest integer radius 0 … n // 2 - 1 of two half planes."""
    a, b = full_plane(first), full_plane(second)
    n = a.shape[0]
    k = np.array(wave_numbers(n), float)
    radius = np.hypot(k[:, None], k[None, :])
    result = []
    for ring in range(n // 2):
        inside = (radius >= ring - 0.5) & (radius < ring + 0.5)
        cross = np.sum(a[inside] * np.conj(b[inside])).real
        power = np.sum(np.abs(a[inside]) ** 2) * np.sum(np.abs(b[inside]) ** 2)
        result.append(cross / np.sqrt(power) if power > 0 else 0.0)
    return np.array(result)


def shell_correlation(first, second, mask=None):
    """fsc[0] = 1; shell i holds i - 1 ≤ r < i."""
    if mask is not None:
        first, second = first * mask, second * mask
    a, b = np.fft.fftn(np.fft.ifftshift(first)), np.fft.fftn(np.fft.ifftshift(second))
    n = first.shape[0]
    k = np.array(wave_numbers(n), float)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    result = [1.0]
    for i in range(1, n // 2):
        shell = (radius >= i - 1) & (radius < i)
        cross = np.sum(a[shell] * np.conj(b[shell])).real
        power = np.sum(np.abs(a[shell]) ** 2) * np.sum(np.abs(b[shell]) ** 2)
        result.append(cross / np.sqrt(power) if power > 0 else 0.0)
    return np.array(result)


def area(fsc, n):
    total = 0.0
    for i in range(1, len(fsc)):
        total += 0.5 * (fsc[i] + fsc[i - 1]) / n
    return total
