"""The images that the rows of a table (.star, .cs) name: as text, by which a row is known again, and as files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer, Shaped

from libhetero.errors import DataError
from libhetero.io import star
from libhetero.io.cs_columns import names_of
from libhetero.io.cs_table import CsTable
from libhetero.io.entries import unique_names
from libhetero.io.micrographs import as_text
from libhetero.io.paths import resolve_path
from libhetero.io.star import StarTable
from libhetero.records import ParticleSet, SourceTable

Table = StarTable | CsTable
NOT_THERE = -1


def imported_from(source: SourceTable) -> tuple[Table, Integer[np.ndarray, "particles"]]:
    """Return the table as it lies on disk and the row there of each particle; of copies, the rows they are of."""
    table = source.data
    if isinstance(table, StarTable) and table.copied is not None:
        return table.copied[0], table.copied[1][source.rows]
    return table, source.rows


def image_texts(table: Table, rows: Integer[np.ndarray, "chosen"]) -> Shaped[np.ndarray, "chosen"]:
    """Return what rows name as their image, as text objects: `hetero_image` of a project list.

    Of a .star, rlnImageName as it stands there; of a .cs, number (from 0) and stack, and the uid.
    """
    if isinstance(table, StarTable):
        return np.array([*map(_in_utf8, table.particles["rlnImageName"].to_numpy(object)[rows])], object)
    held, chosen = names_of(table.particles), table.particles[rows]
    texts = [""] * len(chosen)
    if {"blob/path", "blob/idx"} <= set(held):
        pairs = zip(chosen["blob/idx"].tolist(), chosen["blob/path"].tolist(), strict=True)
        texts = [_in_utf8(f"{index}@{as_text(path)}") for index, path in pairs]
    if "uid" in held:
        texts = [f"{text} uid {uid}" for text, uid in zip(texts, chosen["uid"].tolist(), strict=True)]
    return np.array(texts, object)


def _in_utf8(text: str) -> str:
    """Return a text that JSON holds: letters that are not UTF-8 as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, eq=False)
class Comparison:
    """How the images that rows name compare with the particles' own.

    Parameters
    ----------
    same_file : the stack that the row names is the file that the particle lies in.
    alike : the last parts of their names are the same.
    same_number : the image's place in the stack is the same.
    other : both files are there, and are two, or the names of files that are not there differ.
    named_elsewhere : some row of the table names the particle's stack.
    """

    same_file: Bool[np.ndarray, "particles"]
    alike: Bool[np.ndarray, "particles"]
    same_number: Bool[np.ndarray, "particles"]
    other: Bool[np.ndarray, "particles"]
    named_elsewhere: Bool[np.ndarray, "particles"]


def compare_images(table: Table, rows: Integer[np.ndarray, "particles"], particles: ParticleSet) -> Comparison:
    """Compare the image that each row names, found as a reader of the table finds it, with the particle's own."""
    names, name_id, index = _named(table)
    keys: dict[tuple[int, int], int] = {}
    of_names = np.array([_file_key(found_path(name, table.path), keys) for name in names], np.int64)
    of_files = np.array([_file_key(file, keys) for file in particles.files], np.int64)
    last_of_names, last_of_files = _last_parts(names), _last_parts(particles.files)
    stated, own = name_id[rows], np.asarray(particles.file_id)
    there = (of_names[stated] != NOT_THERE) & (of_files[own] != NOT_THERE)
    same_file = there & (of_names[stated] == of_files[own])
    alike = np.asarray(last_of_names[stated] == last_of_files[own], bool)
    used = np.unique(name_id)
    known = np.isin(of_files, of_names[used][of_names[used] != NOT_THERE])
    by_last_part = np.isin(last_of_files.astype(str), last_of_names[used].astype(str))
    return Comparison(
        same_file=same_file,
        alike=alike,
        same_number=index[rows] == particles.image_index,
        other=np.where(there, ~same_file, ~alike),
        named_elsewhere=np.where(of_files == NOT_THERE, by_last_part, known)[own],
    )


def _named(table: Table) -> tuple[tuple[str, ...], Int[np.ndarray, "rows"], Int[np.ndarray, "rows"]]:
    """Return the stacks that a table names, each once, the one of each row, and the image's place there, from 0."""
    if isinstance(table, StarTable):
        images = star.image_names(table)
        return images.names, images.name_id, images.index
    if not {"blob/path", "blob/idx"} <= set(names_of(table.particles)):
        raise DataError(f"{table.path}: names no images (blob/path); restore it, or import it again.")
    names, name_id = unique_names(map(as_text, table.particles["blob/path"].tolist()))
    return names, name_id, table.particles["blob/idx"].astype(np.int64)


def _last_parts(names: Iterable[str]) -> Shaped[np.ndarray, "names"]:
    return np.array([os.path.basename(name) for name in names], object)


def found_path(name: str, source: str) -> str | None:
    """Return where what a list names lies, by the rule for stacks; None where it is not there."""
    try:
        return resolve_path(name, source)
    except DataError:
        return None


def _file_key(path: str | None, keys: dict[tuple[int, int], int]) -> int:
    """Return a number that all names of one file have; NOT_THERE where there is none."""
    try:
        status = os.stat(path) if path is not None else None
    except OSError:
        status = None
    return NOT_THERE if status is None else keys.setdefault((status.st_dev, status.st_ino), len(keys))
