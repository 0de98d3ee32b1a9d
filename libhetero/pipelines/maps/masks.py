"""A mask in the box of the images, whatever grid it was made on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from libhetero.io.mask import read_mask


def mask_in_box(path: str, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"]:
    """Read a mask, values 0 to 1, on a grid of n voxels of `pixel_size` Å; between its own voxels linearly.

    Raises
    ------
    DataError : if it is no mask, or its box is not as long as that of the grid.
    """
    mask, own = read_mask(path, n, pixel_size)
    if len(mask) != n:
        axis = (np.arange(n) - n // 2) * pixel_size / own + len(mask) // 2
        mask = map_coordinates(mask, np.meshgrid(axis, axis, axis, indexing="ij"), order=1, mode="nearest")
    return np.clip(mask, 0, 1).astype(np.float32)
