"""The Gaussians that a run of mixtures starts from, and which of them may change."""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Bool

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_gaussians
from libhetero.io.mask import INSIDE, read_mask
from libhetero.models.families import family_named
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.records import Gaussians
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)

Mobile = Bool[np.ndarray, " gaussians"]


def refuse_other_starts(config: RunConfig) -> None:
    """Refuse a family of Gaussians without a file of them, before particles are read.

    Raises
    ------
    ConfigurationError : if none was named.
    DataError : if a map was named in place of Gaussians.
    """
    path = config.data.reference
    if not family_named(config.family).mixtures:
        return
    if path is None:
        raise ConfigurationError(
            "--model: the Gaussian model needs a starting mixture; expected --model FILE, got none. Make one with "
            "e2hype_guess_n.py, of the consensus map (e2hype_make3d.py makes one) or of an atomic model."
        )
    if not path.endswith(".txt"):
        raise DataError(
            f"{path}: a Gaussian model starts from Gaussians; expected a .txt. Make one from this "
            "map with e2hype_guess_n.py."
        )


def starting_mixture(config: RunConfig, feed: ParticleFeed) -> tuple[Gaussians | None, Mobile | None]:
    """Read the Gaussians that a run starts from, and which of them its mask lets change.

    Parameters
    ----------
    feed : gives box and pixel size.

    Returns
    -------
    gaussians : None where the family starts from none, or no file was named.
    mobile : None where all may change.

    Raises
    ------
    DataError : if a file cannot be read or does not fit.
    """
    path = config.data.reference
    if not family_named(config.family).mixtures or path is None:
        return None, None
    gaussians = read_gaussians(path, feed.box_size, feed.pixel_size)
    return gaussians, mobile_gaussians(config, gaussians, feed)


def mobile_gaussians(config: RunConfig, gaussians: Gaussians, feed: ParticleFeed) -> Mobile | None:
    """Return which Gaussians lie in the run's mask, themselves or a symmetric copy of them; None without a mask.

    Raises
    ------
    DataError : if none does, or the mask cannot be read.
    """
    path, symmetry = config.data.mask, config.model.symmetry
    if path is None:
        return None
    mask, pixel_size = read_mask(path, feed.box_size, feed.pixel_size)
    operators = symmetry_operators(symmetry)
    position = np.asarray(symmetric_copies(gaussians, operators).position)
    far = 2 * mask.shape[0]  # where a Gaussian may lie is not bounded
    voxel = np.rint(np.clip(position[:, ::-1] / pixel_size, -far, far)).astype(int) + mask.shape[0] // 2
    inside = np.all((voxel >= 0) & (voxel < mask.shape[0]), axis=1)
    inside &= mask[tuple(np.where(inside[:, None], voxel, 0).T)] > INSIDE
    mobile = inside.reshape(len(operators), -1).any(axis=0)
    if not mobile.any():
        raise DataError(
            f"{path}: 0 of {len(mobile)} Gaussians lie where it is above {INSIDE}; expected some. "
            "Compare box, pixel size and origin with those of the particles."
        )
    LOGGER.info("%s: %d of %d Gaussians may change", path, np.count_nonzero(mobile), len(mobile))
    return mobile
