"""Finding the table a set was first imported from, through a project list if need be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from libhetero.errors import DataError
from libhetero.io import lst
from libhetero.records import ParticleSet

logger = logging.getLogger(__name__)


def original_table(
    particles: ParticleSet, kind: str, read_table: Callable[..., Any]
) -> tuple[Any, Int[np.ndarray, "particles"]] | None:
    """Return the table of `kind` behind a set and the row of each particle in it.

    A set read from that kind of file has it at hand; a set read from a .lst finds it by the
    `hetero_source` and `hetero_row` of its lines.

    Parameters
    ----------
    particles : the set.
    kind : "star" or "cs".
    read_table : reads such a file, with those that were joined to it; the table has a path and its `particles`.

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
    tables = sorted(name for name in names if name and name.endswith(f".{kind}"))
    if tables and len(names) > 1:
        logger.warning(
            "%s: joined from %d imports (%s among them); their other columns are lost in this "
            "export. Export the list of each import by itself to keep them.",
            source.data.path,
            len(names),
            ", ".join(tables[:2]),
        )
    if not tables or len(names) > 1:
        return None
    rows = np.array([line["hetero_row"] for line in lines], np.int64)
    joined = lines[0].get("hetero_joined")
    joined = [path for path in joined if isinstance(path, str)] if isinstance(joined, list) else []
    return _referenced(tables[0], joined, read_table, rows)


def _referenced(
    name: str, joined: list[str], read_table: Callable[..., Any], rows: np.ndarray
) -> tuple[Any, Int[np.ndarray, "particles"]] | None:
    try:
        table = read_table(name, joined) if joined else read_table(name)
    except DataError as error:
        logger.warning("%s Its other columns are lost in this export.", error)
        return None
    count = len(table.particles)
    if len(rows) and rows.max() >= count:
        raise DataError(
            f"{name}: {count} particles, the list refers to row {rows.max() + 1}; "
            f"give back the file it was imported from."
        )
    return table, rows
