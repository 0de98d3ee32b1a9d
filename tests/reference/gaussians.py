"""Gaussian mixtures summed in real space, one Gaussian at a time."""

import numpy as np

from tests.reference.fourier import centred_axis


def project(position, amplitude, sigma, rotation, shift, n, pixel_size):
    """The projected density at pixel centres times the pixel's area, so that it sums to Σ A."""
    y, x = np.meshgrid(centred_axis(n) * pixel_size, centred_axis(n) * pixel_size, indexing="ij")
    image = np.zeros((n, n))
    for p, a, s in zip(position, amplitude, sigma, strict=True):
        px, py, _ = rotation @ p
        square = (x - px - shift[0]) ** 2 + (y - py - shift[1]) ** 2
        image += a * np.exp(-square / (2 * s**2)) / (2 * np.pi * s**2) * pixel_size**2
    return image


def volume(position, amplitude, sigma, n, pixel_size):
    z, y, x = np.meshgrid(*[centred_axis(n) * pixel_size] * 3, indexing="ij")
    result = np.zeros((n, n, n))
    for p, a, s in zip(position, amplitude, sigma, strict=True):
        square = (x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2
        result += a * np.exp(-square / (2 * s**2)) / (2 * np.pi * s**2) ** 1.5 * pixel_size**3
    return result
