"""Projection in real space: rotate the volume by trilinear interpolation, then sum along z'."""

import numpy as np
from scipy import ndimage


def project(volume, rotation, shift):
    """`rotation` model to image, `shift` (x, y) in voxels; every p' is looked up at Rᵀ(p' - t)."""
    n = volume.shape[0]
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    image_point = np.stack([x - shift[0], y - shift[1], z], axis=-1)
    model_point = image_point @ rotation + n // 2
    coordinates = np.moveaxis(model_point[..., ::-1], -1, 0)
    return ndimage.map_coordinates(volume, coordinates, order=1).sum(axis=0)
