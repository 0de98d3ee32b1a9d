"""Central slices by a loop over pixels and over the eight neighbours of each."""

import numpy as np

from tests.reference.fourier import wave_numbers


def grid_value(transform, kx, ky, kz):
    """A half-space transform at integer (kx, ky, kz), any sign."""
    padded = transform.shape[0]
    if kx < 0:
        return np.conj(transform[(-kz) % padded, (-ky) % padded, -kx])
    return transform[kz % padded, ky % padded, kx]


def trilinear(transform, point):
    low = np.floor(point).astype(int)
    value = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight = 1.0
        for axis in range(3):
            fraction = point[axis] - low[axis]
            weight *= fraction if corner[axis] else 1 - fraction
        if weight > 0:
            value += weight * grid_value(transform, *(low + corner))
    return value


def central_slice(transform, rotation, n):
    padded = transform.shape[0]
    result = np.zeros((n, n // 2 + 1), np.complex128)
    for row, ky in enumerate(wave_numbers(n)):
        for kx in range(n // 2 + 1):
            if kx**2 + ky**2 <= (n / 2) ** 2:
                point = rotation.T @ np.array([kx, ky, 0.0]) * padded / n
                result[row, kx] = trilinear(transform, point)
    return result
