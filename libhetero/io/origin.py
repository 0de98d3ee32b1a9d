"""Finding the table a set was first imported from, through a project list if need be.

A row is the particle that was imported from it if it names the same image as then, which the list has kept.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from libhetero.errors import DataError
from libhetero.io import lst
from libhetero.io.source_images import Table, compare_images, found_path, image_texts
from libhetero.io.star import StarTable
from libhetero.records import ParticleSet

logger = logging.getLogger(__name__)

_KEPT: ContextVar[dict[tuple[str, ...], Any] | None] = ContextVar("tables that were read", default=None)


@contextlib.contextmanager
def tables_kept() -> Iterator[None]:
    """Read each table once inside, as where many lists of one import are written; the files must stay as they are."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def imported_files(particles: ParticleSet) -> list[Path]:
    """Return the tables that the lines of a project list were imported from, as far as they are where they were."""
    source = particles.source
    if source is None or source.format != "lst":
        return []
    names: dict[str, None] = {}
    for row in source.rows:
        line = lst.line_values(source.data, int(row))
        joined = line.get("hetero_joined")
        for name in (line.get("hetero_source"), *(joined if isinstance(joined, list) else ())):
            if isinstance(name, str):
                names[name] = None
    return [Path(found) for name in names if (found := found_path(name, source.data.path)) is not None]


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

    Raises
    ------
    DataError : where a row of the table is not the particle that was imported from it.
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
    name = found_path(tables[0], path) or tables[0]
    try:
        table = _table(name, joined, read_table)
    except DataError as error:
        logger.warning("%s Its other columns are lost in this export.", error)
        return None
    rows = _rows(lines, path)
    check_rows(table, rows, np.array([line.get("hetero_image") for line in lines], object), particles)
    return table, rows


def _table(name: str, joined: list[str], read_table: Callable[..., Any]) -> Any:
    kept = _KEPT.get()
    kept = {} if kept is None else kept
    key = (name, *joined)
    if key not in kept:
        kept[key] = read_table(name, joined) if joined else read_table(name)
    return kept[key]


def _rows(lines: list[dict[str, Any]], path: str) -> Int[np.ndarray, "particles"]:
    rows = [line.get("hetero_row") for line in lines]
    for i, row in enumerate(rows):
        if type(row) is not int or not 0 <= row < 2**53:
            raise DataError(
                f"{path}: particle {i + 1}: hetero_row is {str(row)[:30]}; expected the row, from 0, of the list it "
                f"was imported from. Import that list again."
            )
    return np.array(rows, np.int64)


def check_rows(
    table: Table, rows: Int[np.ndarray, "particles"], images: Shaped[np.ndarray, "particles"], particles: ParticleSet
) -> None:
    """Refuse a table whose rows are not the particles that were imported from them.

    Parameters
    ----------
    rows : of the particles.
    images : what each row named at the import; None in lists of before that was kept.

    Raises
    ------
    DataError : for the first row that is another particle, or beyond the end.
    """
    count = len(table.particles)
    if len(rows) and rows.max() >= count:
        raise DataError(
            f"{table.path}: {count} particles, the list refers to row {rows.max() + 1}; "
            f"give back the file it was imported from."
        )
    texts = image_texts(table, rows)
    kept = np.array([image is not None for image in images], bool)
    wrong = kept & np.asarray(texts != images, bool)
    if wrong.any() and isinstance(table, StarTable):
        found = compare_images(table, rows, particles)  # names alone may have changed, as where stacks have moved
        wrong &= ~(found.same_file & found.same_number)
    if not kept.all():
        wrong |= ~kept & _other_images(table, rows, particles)
    if wrong.any():
        i = int(np.argmax(wrong))
        own = f"image {particles.image_index[i] + 1} of {particles.files[particles.file_id[i]]}"
        raise DataError(
            f"{table.path}: row {rows[i] + 1} now names {texts[i]}; the particle that was imported from it is "
            f"{images[i] if kept[i] else own}: the file has changed. Restore it, or import it again."
        )


def _other_images(
    table: Table, rows: Int[np.ndarray, "particles"], particles: ParticleSet
) -> Bool[np.ndarray, "particles"]:
    """Return which rows name another image than the particle, for lists that do not hold what they named.

    A particle whose stack no row names lies in a copy, of which the names tell nothing; those made by --stack are in
    the order of the rows.
    """
    found = compare_images(table, rows, particles)
    copies = found.other & ~found.named_elsewhere
    if np.any(copies & ~found.alike):
        logger.warning(
            "%s: the list points at copies of the images and does not hold what it was imported from; that the "
            "rows are still the same is taken on trust. Import it again.",
            table.path,
        )
    in_order = particles.image_index == rows
    moved = copies & found.alike & ~found.same_number & ~in_order
    return (found.other & ~copies) | (~found.other & ~found.same_number) | moved
