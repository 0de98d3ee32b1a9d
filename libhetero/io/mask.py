"""Masks: maps from 0 to 1 on the grid of the particles, or a finer or coarser one of the same length."""

from __future__ import annotations

import logging
import os

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.io.volume import read_volume

logger = logging.getLogger(__name__)

INSIDE = 0.5  # what is above it is inside
SAME_LENGTH = 0.02  # relative
OVERSHOOT = 0.2  # of masks that were resampled
PLATEAU, FEW = 0.9, 0.2  # a mask is at least that in most of its inside; a density hardly anywhere
REMEDY = "make a mask of a density with relion_mask_create, cryoSPARC's volume tools or e2proc3d.py"


def read_mask(path: str | os.PathLike, box_size: int, pixel_size: float) -> tuple[Float[np.ndarray, "n n n"], float]:
    """Read a mask, and refuse what is none: another kind of map, or one of another box.

    Parameters
    ----------
    path : of the map.
    box_size : voxels, of the grid that it is for.
    pixel_size : Å.

    Returns
    -------
    mask : as stored, on its own grid, about the same centre and of the same length.
    pixel_size : Å, of that grid.

    Raises
    ------
    DataError : if it is no map, no cube or of another length, or its values are not those of a mask.
    """
    volume, found = read_volume(path)
    if len(set(volume.shape)) > 1:
        z, y, x = volume.shape
        raise DataError(f"{path}: the mask is {x}×{y}×{z}; expected a cube. Give the map of a mask.")
    length, expected = len(volume) * found, box_size * pixel_size
    if abs(length / expected - 1) > SAME_LENGTH:
        raise DataError(
            f"{path}: the mask is {len(volume)} voxels of {found:.4g} Å, {length:.4g} Å; expected the length of the "
            f"box, {box_size} of {pixel_size:.4g} Å, {expected:.4g} Å. Clip or resample it, or correct its header."
        )
    low, high = float(volume.min()), float(volume.max())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise DataError(f"{path}: values from {low:.3g} to {high:.3g}; expected those of a mask, 0 to 1; {REMEDY}.")
    if 0 < high <= INSIDE:
        raise DataError(f"{path}: values up to {high:.3g}; expected a mask, which is 1 inside; {REMEDY}.")
    inside = volume > INSIDE
    if inside.any() and np.mean(volume[inside] > PLATEAU) < FEW:
        logger.warning("%s: few of its voxels are near 1, as of a density and not of a mask; %s.", path, REMEDY)
    return volume, found
