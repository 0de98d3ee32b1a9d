"""A map turned as a rigid body about a hinge:

    V'(x) = V(h + Qᵀ (x - h)),     V'(k) = V(Qᵀ k) exp(-2πi k·(h - Q h))

A map ends at Nyquist, so that it is read between voxels by cubic splines on a grid twice as fine. Of the frequencies
beyond Nyquist's sphere, which no image holds and which a turn would bring back as others, it is freed first.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from jaxtyping import Float
from scipy import ndimage

OVERSAMPLING = 2


def prepare_turning(volume: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "fine fine fine"]:
    """Return what `turned_volume` reads: the spline coefficients of a map on the finer grid, float32.

    Parameters
    ----------
    volume : (z, y, x), origin n // 2, n even.
    """
    n = volume.shape[0]
    transform = scipy.fft.rfftn(np.fft.ifftshift(volume.astype(np.float32)))
    axis, half = np.rint(n * np.fft.fftfreq(n)).astype(int), np.arange(n // 2 + 1)
    square = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + half[None, None, :] ** 2
    transform *= square < (n // 2) ** 2
    fine = OVERSAMPLING * n
    padded = np.zeros((fine, fine, fine // 2 + 1), np.complex64)
    padded[np.ix_(axis % fine, axis % fine, half)] = OVERSAMPLING**3 * transform
    whole = np.fft.fftshift(scipy.fft.irfftn(padded, s=(fine, fine, fine)))
    return ndimage.spline_filter(whole, order=3, output=np.float32)


def turned_volume(
    prepared: Float[np.ndarray, "fine fine fine"],
    rotation: Float[np.ndarray, "3 3"],
    hinge: Float[np.ndarray, "3"],
    pixel_size: float,
) -> Float[np.ndarray, "n n n"]:
    """Return a map turned about a hinge, (n, n, n) float32; 0 where it comes from outside the box.

    Parameters
    ----------
    prepared : from `prepare_turning`.
    rotation : Q, which left-multiplies columns (x, y, z).
    hinge : h, Å (x, y, z) from the origin.
    pixel_size : Å, of the map.
    """
    n = prepared.shape[0] // OVERSAMPLING
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], axis=-1) - hinge / pixel_size
    source = points @ np.asarray(rotation, np.float64) + hinge / pixel_size  # rows times Q are Qᵀ times columns
    places = OVERSAMPLING * (source + n // 2)
    return ndimage.map_coordinates(
        prepared, np.moveaxis(places[..., ::-1], -1, 0), order=3, prefilter=False, output=np.float32
    )
