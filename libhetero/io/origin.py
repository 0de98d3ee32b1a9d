"""Finding the table a set was first imported from, through a project list if need be."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from libhetero.errors import DataError
from libhetero.io import lst, star
from libhetero.io.paths import resolve_path
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
    tables = sorted(name for name in names if isinstance(name, str) and name.endswith(f".{kind}"))
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
    joined = lines[0].get("hetero_joined")
    joined = [path for path in joined if isinstance(path, str)] if isinstance(joined, list) else []
    path = source.data.path
    return _referenced(_found(tables[0], path), joined, kind, read_table, _rows(lines, path), particles)


def _found(name: str, source: str) -> str:
    """Return where the table of a list lies, by the rule for its stacks; the name where it is not there."""
    try:
        return resolve_path(name, source)
    except DataError:
        return name


def _rows(lines: list[dict[str, Any]], path: str) -> Int[np.ndarray, "particles"]:
    rows = [line.get("hetero_row") for line in lines]
    for i, row in enumerate(rows):
        if type(row) is not int or not 0 <= row < 2**53:
            raise DataError(
                f"{path}: particle {i + 1}: hetero_row is {str(row)[:30]}; expected the row, from 0, of the list it "
                f"was imported from. Import that list again."
            )
    return np.array(rows, np.int64)


def _referenced(
    name: str,
    joined: list[str],
    kind: str,
    read_table: Callable[..., Any],
    rows: Int[np.ndarray, "particles"],
    particles: ParticleSet,
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
    _check_same_images(name, *_images(table, kind), rows, particles)
    return table, rows


def _images(table: Any, kind: str) -> tuple[Shaped[np.ndarray, "rows"], Int[np.ndarray, "rows"]]:
    """Return the last part of the stack's name and the 0-based image, for each row of a table."""
    if kind == "star":
        found = star.image_names(table)
        names = np.array([os.path.basename(name) for name in found.names], object)
        return names[found.name_id], found.index
    paths, place = np.unique(table.particles["blob/path"], return_inverse=True)
    names = np.array([os.path.basename(os.fsdecode(path)) for path in paths], object)
    return names[place.ravel()], table.particles["blob/idx"].astype(np.int64)


def _check_same_images(
    name: str,
    stacks: Shaped[np.ndarray, "rows"],
    index: Int[np.ndarray, "rows"],
    rows: Int[np.ndarray, "particles"],
    particles: ParticleSet,
) -> None:
    """Refuse a table that names other images in the rows of the set than it did when it was imported.

    Where a list points at copies under another name, nothing can be compared.
    """
    own = np.array([os.path.basename(file) for file in particles.files], object)[particles.file_id]
    wrong = (stacks[rows] == own) & (index[rows] != particles.image_index)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DataError(
            f"{name}: row {rows[i] + 1} is now image {index[rows[i]] + 1} of {own[i]}; the particle imported from "
            f"it is image {particles.image_index[i] + 1}: the file has changed. Give it back, or import it again."
        )
