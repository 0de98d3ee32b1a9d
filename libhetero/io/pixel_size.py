"""The pixel size that a user gives in place of a file's, and the one that an exported list should state."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.records import ParticleSet

SAME = 1e-5  # relative; lists and headers of other programs hold six or seven digits


def check_pixel_size(given: float | None) -> None:
    """Refuse a pixel size that none can be.

    Parameters
    ----------
    given : Å, in place of what files say; None when none is given.

    Raises
    ------
    DataError : if it is not a finite number above 0.
    """
    if given is not None and not (np.isfinite(given) and given > 0):
        raise DataError(f"a pixel size of {given:g} Å is given (--apix); expected a number above 0.")


def renewed_pixel_size(
    particles: ParticleSet, stated: Float[np.ndarray, "particles"], box: Int[np.ndarray, "particles"]
) -> Float[np.ndarray, "particles"]:
    """Return the Å per pixel of a list's own images.

    Images of another box than the list's are binned or clipped copies, whose pixel size says
    nothing of the list's. In the same box another pixel size was given in place of the stated one.

    Parameters
    ----------
    particles : the set to be written.
    stated : Å, what the list says; not finite or not positive where it says nothing.
    box : pixels, of the list's images; 0 where not known.
    """
    known = np.isfinite(stated) & (stated > 0)
    own = np.asarray(particles.box_size)
    copied = (own > 0) & (box > 0) & (own != box)
    same = np.isclose(particles.pixel_size, stated, rtol=SAME, atol=0)
    return np.where(known & (copied | same), stated, particles.pixel_size)
