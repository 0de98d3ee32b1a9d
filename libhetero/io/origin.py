"""Finding the table a set was first imported from, through a project list if need be."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from libhetero.errors import DataError
from libhetero.io import lst, star
from libhetero.records import ParticleSet

logger = logging.getLogger(__name__)


def original_table(particles: ParticleSet, kind: str) -> tuple[Any, np.ndarray] | None:
    """Return the table of `kind` behind a set and the row of each particle in it.

    A set read from that kind of file has it at hand; a set read from a .lst finds it by the
    `hetero_source` and `hetero_row` of its lines.

    Parameters
    ----------
    particles : the set.
    kind : "star" or "cs".

    Returns
    -------
    (table, rows), or None when there is no such table.
    """
    source = particles.source
    if source is None:
        return None
    if source.format == kind:
        return source.data, source.rows
    if source.format != "lst":
        return None
    lines = [lst.line_values(source.data, int(row)) for row in source.rows]
    names = {line.get("hetero_source") for line in lines}
    if len(names) != 1 or None in names or not str(*names).endswith(f".{kind}"):
        return None
    return _referenced(str(*names), kind, np.array([line["hetero_row"] for line in lines]))


def _referenced(name: str, kind: str, rows: np.ndarray) -> tuple[Any, np.ndarray] | None:
    from libhetero.io import cs

    try:
        table = star.read_table(name) if kind == "star" else cs.read_table(name)
        count = len(table.particles)
    except DataError as error:
        logger.warning("%s; its other columns are lost in this export.", error)
        return None
    if len(rows) and rows.max() >= count:
        raise DataError(
            f"{name}: {count} particles, the list refers to row {rows.max() + 1}; "
            f"give back the file it was imported from."
        )
    return table, rows
