"""Optics groups: particles taken under the same conditions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.io.aberrations import in_star_units
from libhetero.io.ctf_columns import OF_GROUP
from libhetero.records import ParticleSet

SOURCE_LABELS = {"star": "rlnOpticsGroup", "cs": "ctf/exp_group_id"}


def optics_groups(
    particles: ParticleSet, known: Float[np.ndarray, "groups values"] | None = None
) -> tuple[Float[np.ndarray, "groups values"], Int[np.ndarray, "particles"]]:
    """Part particles by what they were taken with.

    Parameters
    ----------
    particles : the set.
    known : the `values` of a larger set that these particles are a part of; None for their own.

    Returns
    -------
    values : box size, pixel size in Å and the parameters of the CTF that are `OF_GROUP`, where there is one,
        of each group, then its aberrations, where there are any, as `aberrations.in_star_units` gives them.
    group : row of `values` for each particle.
    """
    keys = [particles.box_size, np.round(particles.pixel_size, 6)]
    ctf = particles.ctf
    if ctf is not None:
        keys += [np.round(np.asarray(getattr(ctf, column.field), np.float64), 6) for column in OF_GROUP]
        keys += list(np.round(in_star_units(ctf), 6).T)
    values, group = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
    if known is None:
        return values, group.ravel()
    row = {tuple(one): i for i, one in enumerate(known)}
    return known, np.array([row[tuple(one)] for one in values], int)[group.ravel()]


def count_optics_groups(particles: ParticleSet) -> int:
    """Return how many groups the source names, or else how many conditions there are."""
    source = particles.source
    if source is not None and source.format in SOURCE_LABELS:
        table, label = source.data.particles, SOURCE_LABELS[source.format]
        names = table.columns if source.format == "star" else table.dtype.names
        if label in names:
            return len(np.unique(np.asarray(table[label])[source.rows]))
    return len(optics_groups(particles)[0])
