"""The pixel size that an exported list should state: its own, or the one given in its place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.records import ParticleSet

SAME = 1e-5  # relative; a .lst holds seven digits


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
