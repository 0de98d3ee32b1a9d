"""Backprojection by loops: every Fourier pixel and its mirror onto its eight grid neighbours."""

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
