"""Model families. `create` makes one from data, `build` restores one from a run folder.

Nothing here is imported until asked for, so a program that needs one family pays for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from libhetero.configuration import from_dict
from libhetero.errors import ConfigurationError

if TYPE_CHECKING:
    from libhetero.models.family import ModelFamily
    from libhetero.records import Batch, Gaussians

FAMILIES = ("hype", "gmm")


def create(
    family: str,
    config: Any,
    *,
    box_size: int,
    pixel_size: float,
    sample: Batch,
    gaussians: Gaussians | None = None,
    mobile: np.ndarray | None = None,
    seed: int = 0,
) -> ModelFamily:
    """Make a model for a particle set.

    Parameters
    ----------
    family : "hype" or "gmm".
    config : `HypeConfig` or `GmmConfig`.
    box_size : pixels of the images the model will see.
    pixel_size : Å.
    sample : some hundred particles, from which fixed statistics are measured.
    gaussians : the neutral mixture; needed by "gmm" only.
    mobile : which of its Gaussians may change, bool; None for all.
    seed : of the fixed random geometry (INR frequencies, k-means).

    Raises
    ------
    ConfigurationError : unknown family, or "gmm" without Gaussians.
    """
    if family == "hype":
        from libhetero.models.hype.model import HypeModel

        return HypeModel.from_data(config, box_size, pixel_size, sample, seed)
    if family == "gmm":
        from libhetero.models.gmm.model import GmmModel

        if gaussians is None:
            raise ConfigurationError(
                "the Gaussian model needs a starting mixture; expected --model FILE, got none. "
                "Make one with e2hype_guess_n.py."
            )
        return GmmModel.from_data(config, gaussians, box_size, pixel_size, sample, seed, mobile)
    raise _unknown(family)


def build(family: str, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> ModelFamily:
    """Restore a model from what its run folder holds.

    Parameters
    ----------
    family : "hype" or "gmm".
    config : the model's configuration as JSON types.
    arrays : what `ModelFamily.arrays` returned when it was saved.

    Raises
    ------
    ConfigurationError : unknown family or unknown configuration key.
    """
    if family == "hype":
        from libhetero.models.hype.config import HypeConfig
        from libhetero.models.hype.model import HypeModel

        return HypeModel.from_arrays(from_dict(HypeConfig, config), arrays)
    if family == "gmm":
        from libhetero.models.gmm.config import GmmConfig
        from libhetero.models.gmm.model import GmmModel

        return GmmModel.from_arrays(from_dict(GmmConfig, config), arrays)
    raise _unknown(family)


def _unknown(family: str) -> ConfigurationError:
    return ConfigurationError(f"unknown model family {family!r}; expected {' or '.join(FAMILIES)}.")
