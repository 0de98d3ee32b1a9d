"""The Gaussians that a run of mixtures starts from, and which of them may change."""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Bool

from libhetero.errors import DataError
from libhetero.io import read_gaussians, read_volume
from libhetero.models.families import family_named
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.records import Gaussians
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
MASK_LEVEL = 0.5


def starting_gaussians(config: RunConfig, feed: ParticleFeed) -> Gaussians | None:
    """Read the mixture that a run starts from; None where its family starts from none, or no file was named.

    Parameters
    ----------
    feed : gives box and pixel size.

    Raises
    ------
    DataError : if the file is a map or cannot be read.
    """
    path = config.data.reference
    if not family_named(config.family).mixtures or path is None:
        return None
    if not path.endswith(".txt"):
        raise DataError(
            f"{path}: a Gaussian model starts from Gaussians; expected a .txt. Make one from this "
            "map with e2hype_guess_n.py."
        )
    return read_gaussians(path, feed.box_size, feed.pixel_size)


def mobile_gaussians(config: RunConfig, gaussians: Gaussians) -> Bool[np.ndarray, " gaussians"] | None:
    """Return which Gaussians the mask lets change, those of which a symmetric copy lies in it; None without a mask.

    Raises
    ------
    DataError : if the mask is no cube, or no Gaussian lies in it.
    """
    path = config.data.mask
    if path is None:
        return None
    mask, pixel_size = read_volume(path)
    if len(set(mask.shape)) > 1:
        raise DataError(f"{path}: the mask is {mask.shape[2]}×{mask.shape[1]}×{mask.shape[0]}; expected a cube.")
    operators = symmetry_operators(config.model.symmetry)
    position = np.asarray(symmetric_copies(gaussians, operators).position)
    voxel = np.rint(position[:, ::-1] / pixel_size).astype(int) + mask.shape[0] // 2
    inside = np.all((voxel >= 0) & (voxel < mask.shape[0]), axis=1)
    inside &= mask[tuple(np.where(inside[:, None], voxel, 0).T)] > MASK_LEVEL
    mobile = inside.reshape(len(operators), -1).any(axis=0)
    if not mobile.any():
        raise DataError(
            f"{path}: 0 of {len(mobile)} Gaussians lie where it is above {MASK_LEVEL}; expected some. "
            "Compare box, pixel size and origin with those of the particles."
        )
    LOGGER.info("%s: %d of %d Gaussians may change", path, np.count_nonzero(mobile), len(mobile))
    return mobile
