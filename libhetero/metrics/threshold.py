"""Which voxels of a map count as molecule."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from libhetero.errors import DataError

VOLUME_PER_DALTON = 1.21  # Å³, partial specific volume 0.73 cm³/g of protein


def level_for_mass(volume: Float[np.ndarray, "n n n"], mass: float, pixel_size: float) -> float:
    """Return the level whose contour encloses a molecular mass.

    The brightest mass · 1.21 Å³/Da ÷ (voxel volume) voxels lie at or above it.

    Parameters
    ----------
    volume : (n, n, n), density.
    mass : Da.
    pixel_size : Å.

    Raises
    ------
    DataError : if the mass needs less than one voxel or more than the box holds.
    """
    count = round(mass * VOLUME_PER_DALTON / pixel_size**3)
    if not 1 <= count <= volume.size:
        raise DataError(
            f"a mass of {mass:g} Da fills {count} voxels of {pixel_size:g} Å; expected 1 to "
            f"{volume.size}, those of the box. Check the mass (Da) and the pixel size."
        )
    place = volume.size - count
    return float(np.partition(np.asarray(volume, np.float32).reshape(-1), place)[place])


def above(volume: Float[np.ndarray, "n n n"], level: float) -> Bool[np.ndarray, "n n n"]:
    """Return the voxels at or above `level`."""
    return np.asarray(volume) >= level


def fit_to_truth(volume: Float[np.ndarray, "n n n"], truth: Float[np.ndarray, "n n n"]) -> tuple[float, float]:
    """Return (a, b) of the least-squares fit a · volume + b to `truth` over all voxels."""
    volume = np.asarray(volume, np.float64)
    truth = np.asarray(truth, np.float64)
    centred = volume - volume.mean()
    power = np.sum(centred**2)
    slope = np.sum(centred * truth) / power if power > 0 else 0.0
    return float(slope), float(truth.mean() - slope * volume.mean())


def scale_to_truth(volume: Float[np.ndarray, "n n n"], truth: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return a · volume + b, the least-squares fit to `truth` over all voxels, with a ≥ 0.

    Needed before any level is compared: images fix neither the scale nor the mean of a map. A
    volume that anticorrelates with the truth (a < 0) becomes the constant mean of the truth.
    """
    slope, offset = fit_to_truth(volume, truth)
    if slope <= 0:
        return np.full(np.shape(volume), np.mean(truth), np.float32)
    return (slope * np.asarray(volume, np.float64) + offset).astype(np.float32)


def offset_to_truth(
    volume: Float[np.ndarray, "n n n"], truth: Float[np.ndarray, "n n n"]
) -> Float[np.ndarray, "n n n"]:
    """Return volume + b / a of the same fit: its scale and sign kept, its mean that of the truth.

    A volume learned from images without their DC has an arbitrary mean, which would decide the
    first shell of an FSC and leak into others through a mask. Unchanged where a ≤ 0.
    """
    slope, offset = fit_to_truth(volume, truth)
    if slope <= 0:
        return np.asarray(volume, np.float32)
    return (np.asarray(volume, np.float64) + offset / slope).astype(np.float32)
