"""What a particle had received when an image of it was taken: before the image, and up to the middle of it.

RELION's rlnMicrographPreExposure is what was received *before* the image was taken; `CTFParams.exposure`, by which the
signal fades, counts half of the image's own exposure too:

    exposure = before + own / 2

Lists do not state the image's own exposure. It is taken from the series, in which one image begins where another ends:
the smallest step between two exposures of a particle, of the typical particle. Both columns have the same steps, so
that reading and writing undo each other. A list whose particles have one image each says nothing of their own
exposures, which then count as 0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer

SAME = 1e-3  # e⁻/Å²: exposures no further apart are one


def own_exposure(exposure: Float[np.ndarray, "images"], particle: Integer[np.ndarray, "images"]) -> float:
    """Return the exposure of one image of a tilt series, e⁻/Å²; 0 where no particle has images of two exposures.

    Images that were left out of a series change nothing, as long as most particles have two that follow each other.

    Parameters
    ----------
    exposure : e⁻/Å², before the images or up to their middle.
    particle : number of the particle that each image shows.
    """
    order = np.lexsort((exposure, particle))
    of, step = np.asarray(particle)[order], np.diff(np.asarray(exposure, np.float64)[order])
    step, of = step[(of[1:] == of[:-1]) & (step > SAME)], of[1:][(of[1:] == of[:-1]) & (step > SAME)]
    if len(step) == 0:
        return 0.0
    first = np.flatnonzero(np.diff(of, prepend=of[0] - 1))
    return float(np.median(np.minimum.reduceat(step, first)))


def exposure_to_middle(
    before: Float[np.ndarray, "images"], particle: Integer[np.ndarray, "images"], own: float | None = None
) -> Float[np.ndarray, "images"]:
    """Return the exposure up to the middle of each image, e⁻/Å²: `CTFParams.exposure` of what RELION states.

    Parameters
    ----------
    before : e⁻/Å², received before each image.
    particle : number of the particle that each image shows.
    own : e⁻/Å², of one image; None for that of the series (`own_exposure`).
    """
    return before + (own_exposure(before, particle) if own is None else own) / 2


def exposure_before(
    middle: Float[np.ndarray, "images"], particle: Integer[np.ndarray, "images"], own: float | None = None
) -> Float[np.ndarray, "images"]:
    """Return the exposure before each image, e⁻/Å², as RELION states it; the inverse of `exposure_to_middle`.

    Parameters
    ----------
    middle : e⁻/Å², received up to the middle of each image.
    particle, own : as in `exposure_to_middle`.
    """
    before = middle - (own_exposure(middle, particle) if own is None else own) / 2
    return np.where(np.abs(before) < SAME, 0.0, before)
