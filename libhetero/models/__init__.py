"""Model families. `create` makes one from data, `build` restores one from a run folder.

`families` is the table of them. No model is imported until asked for, so a program that needs one family pays for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from libhetero.errors import ConfigurationError
from libhetero.models.families import family_named

if TYPE_CHECKING:
    import numpy as np

    from libhetero.models.family import ModelFamily
    from libhetero.models.hype.latent.known import KnownClasses
    from libhetero.records import Batch, Gaussians


def create(
    family: str,
    config: Any,
    *,
    box_size: int,
    pixel_size: float,
    sample: Batch,
    gaussians: Gaussians | None = None,
    mobile: np.ndarray | None = None,
    known: KnownClasses | None = None,
    further: Batch | None = None,
    seed: int = 0,
) -> ModelFamily:
    """Make a model for a particle set.

    Parameters
    ----------
    family : name of one of `families.FAMILIES`.
    config : its configuration.
    box_size : pixels of the images the model will see.
    pixel_size : Å.
    sample : particles, as many as the configuration's `sample_size`, from which fixed statistics are measured.
    gaussians : the neutral mixture, for families that start from one.
    mobile : which of its Gaussians may change, bool; None for all.
    known : classes of all images of the list, for families that begin from classes; None to search for them.
    further : particles besides the sample, as many as `further_size`, for families that start from a mixture: those
        that changes are searched in, too, as `models.gmm.further.read_coarsely` gives them; None for none.
    seed : of the fixed random geometry (INR frequencies, k-means).

    Raises
    ------
    ConfigurationError : unknown family, or no Gaussians for one that starts from them.
    """
    found = family_named(family)
    start: dict[str, Any] = {}
    if found.mixtures:
        if gaussians is None:
            raise ConfigurationError(
                "the Gaussian model needs a starting mixture; expected --model FILE, got none. "
                "Make one with e2hype_guess_n.py."
            )
        start = {"neutral": gaussians, "mobile": mobile, "further": further}
    elif known is not None:
        start = {"known": known}
    return found.model().from_data(config, box_size=box_size, pixel_size=pixel_size, sample=sample, seed=seed, **start)


def build(family: str, config: Any, arrays: dict[str, np.ndarray]) -> ModelFamily:
    """Restore a model from what its run folder holds.

    Parameters
    ----------
    family : name of one of `families.FAMILIES`.
    config : its configuration.
    arrays : what `ModelFamily.arrays` returned when it was saved.

    Raises
    ------
    ConfigurationError : unknown family.
    """
    return family_named(family).model().from_arrays(config, arrays)
