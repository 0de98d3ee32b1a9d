"""How far the images of a list count in maps that are weighed: less where a run has found them to be junk."""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Float

from libhetero.records import ParticleSet

LOGGER = logging.getLogger(__name__)
COLUMN = "libheteroJunk"  # as lists are written


def molecule_weights(particles: ParticleSet) -> Float[np.ndarray, "particles"] | None:
    """Return the probability of each image to show the molecule, 1 less that of junk, as the list states it, and tell.

    None where the list does not state it, or no image is junk.
    """
    junk = np.zeros(0)
    if particles.estimates is not None:
        junk = np.clip(np.asarray(particles.estimates.junk, np.float64), 0, 1)
    elif particles.source is not None and particles.source.format == "star":
        junk = np.clip(particles.source.data.number(COLUMN, particles.source.rows, missing=0.0), 0, 1)
    if not junk.any():
        return None
    LOGGER.info(
        "images count by 1 less the probability of being junk, which the list states: together as much as %.0f of %d",
        len(junk) - junk.sum(),
        len(junk),
    )
    return 1 - junk
