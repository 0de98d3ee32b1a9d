"""How far the images of a list count in maps that are weighed: less where a run has found them to be junk."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from libhetero.io.particle_findings import read_findings
from libhetero.pipelines.decoding.particle_findings import FINDINGS
from libhetero.pipelines.listing.table_columns import rows_of_record
from libhetero.pipelines.run.epoch_folder import run_and_epoch
from libhetero.pipelines.run.particle_record import LIST, record_of
from libhetero.records import ParticleSet

LOGGER = logging.getLogger(__name__)
COLUMN = "libheteroJunk"  # as lists are written


def molecule_weights(particles: ParticleSet, name: str, folder: Path) -> Float[np.ndarray, "particles"] | None:
    """Return the probability of each image to show the molecule, 1 less that of junk, and tell who says it.

    The list does, where it has the column. Where it has none, the run does, of the images that it knows; others count
    in full. None where nobody does, or no image is junk.

    Parameters
    ----------
    name : of the list, for messages.
    folder : of the run, or of what was made of it; any other says nothing.

    Raises
    ------
    DataError : if a file of the run is damaged, or the particles only have the names of those of the run.
    """
    junk, who = _of_list(particles), "the list states"
    if junk is None:
        junk, who = _of_run(particles, name, folder), f"{folder} has found, as {name} does not state it"
    if junk is None or not junk.any():
        return None
    LOGGER.info(
        "images count by 1 less the probability of being junk, which %s: together as much as %.0f of %d",
        who,
        len(junk) - junk.sum(),
        len(junk),
    )
    return 1 - junk


def _of_list(particles: ParticleSet) -> Float[np.ndarray, "particles"] | None:
    """Return the probability of being junk as a list states it; None where it has no such column."""
    junk = None
    if particles.estimates is not None:
        junk = np.asarray(particles.estimates.junk, np.float64)
    elif particles.source is not None and particles.source.format == "star":
        junk = particles.source.data.number(COLUMN, particles.source.rows)
    return None if junk is None else np.clip(junk, 0, 1)


def _of_run(particles: ParticleSet, name: str, folder: Path) -> Float[np.ndarray, "particles"] | None:
    """Return the probability of being junk as a run has found it, 0 for images that it does not know; None where the
    folder is of no run, or of one that has not looked for junk."""
    record = record_of(run_and_epoch(folder)[0]) if (folder / FINDINGS).exists() else None
    if record is None:
        return None
    whole = f"Give its own list, {run_and_epoch(folder)[0] / LIST}, as a whole."
    rows = rows_of_record(record, particles, name, str(folder), whole)
    found = np.clip(read_findings(folder / FINDINGS, len(record.file_id)).junk, 0, 1)
    return np.where(rows >= 0, found[rows], 0.0)
