"""Particles of tilt series as rows of the user's own list of 3-D particles, which names each of them once.

    tilt images that were chosen → their particles' names → rows of the list of 3-D particles, in its own order

A .star of tilt images names the particle of an image by one label (`libhetero.io.star.series_label`). The list of 3-D
particles has the same label, or one of those that hold such names in RELION's, Warp's and M's lists. Warp and M name
the files of subtomograms NAME_1.82A.mrc.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from libhetero.errors import DataError
from libhetero.io.star_text import StarFile, read_star_file, write_star_file
from libhetero.io.tilt_series import labelled_names
from libhetero.records import ParticleSet

NAMES = ("rlnTomoParticleName", "rlnGroupName")  # labels of names, and not of numbers
LABELS = (*NAMES, "rlnTomoParticleId", "rlnGroupNumber")
IMAGE, PARTICLES = "rlnImageName", "particles"
# NAME of folder/NAME_1.82A.mrc
OF_FILE = re.compile(r"(?:.*[/@])?(.+?)(?:_[0-9]+(?:\.[0-9]+)?A)?\.[A-Za-z]+(?::[a-z]+)?")
REMEDY = "Give the list of 3-D particles that these tilt images were exported from."


@dataclass(frozen=True, eq=False)
class ParticleRows:
    """A list of 3-D particles, and the row of the particle that each chosen tilt image shows.

    Parameters
    ----------
    star : the list, every value as text.
    block : of it, which has a row for each particle.
    row : of each image that was chosen.
    """

    star: StarFile
    block: str
    row: Int[np.ndarray, "images"]

    @classmethod
    def of(cls, path: str, parts: Sequence[ParticleSet], name: str) -> ParticleRows:
        """Read a list of 3-D particles, and find those that chosen tilt images show.

        Parameters
        ----------
        parts : the images, set after set.
        name : of their list, for messages.

        Raises
        ------
        DataError : for single images, a list that names no particles, and where one of the particles is not there or is
            there several times.
        """
        file = read_star_file(path)
        block = _block(file, path)
        of_parts = [labelled_names(part) for part in parts]
        label = of_parts[0][0]
        if label is None or any(other != label for other, _ in of_parts):
            told = " and ".join(dict.fromkeys(other or "ptcl3d_id" for other, _ in of_parts))
            raise DataError(
                f"{name}: names particles by {told}; expected one label of a .star, whose names {path} has, too. "
                "Choose from the .star that was exported, or from a list that was imported from it."
            )
        names = [one for _, of_part in of_parts for one in of_part]
        column, own = _column(file.blocks[block], label, names, (path, name))
        return cls(file, block, _rows(column, own, names, (path, name)))

    def write(self, path: Path, places: Int[np.ndarray, "chosen"]) -> int:
        """Write the rows of the particles that the images at these places show, in the order of the list, with all
        columns and the other tables as they are; return how many there are."""
        rows = np.unique(self.row[places])
        chosen = self.star.blocks[self.block].iloc[rows]
        write_star_file(path, replace(self.star, blocks={**self.star.blocks, self.block: chosen}))
        return len(rows)


def _block(file: StarFile, path: str) -> str:
    """Return the name of the table whose rows are particles."""
    tables = {name: block for name, block in file.blocks.items() if isinstance(block, pd.DataFrame)}
    found = [name for name, table in tables.items() if {*LABELS, IMAGE} & set(table)]
    if PARTICLES in found:
        return PARTICLES
    if len(found) != 1:
        blocks = ", ".join(f"data_{name}" for name in file.blocks)[:200] or "none"
        raise DataError(
            f"{path}: expected one table of particles ({', '.join((*LABELS, IMAGE))}); it has {blocks}. {REMEDY}"
        )
    return found[0]


def _column(table: pd.DataFrame, label: str, names: list[str], lists: tuple[str, str]) -> tuple[list[str], str]:
    """Return the names that a list of 3-D particles has for its rows, and their label: the first that knows all names.

    Parameters
    ----------
    label : by which the list of tilt images names particles.
    names : of the particles looked for.
    lists : names of the list of 3-D particles and of that of tilt images, for messages.
    """
    tried = [label, *(other for other in (*NAMES, IMAGE) if other != label and label in NAMES)]
    columns = {one: _names_by(table, one) for one in tried if one in table}
    if not columns:
        raise DataError(
            f"{lists[0]}: has no {' or '.join(tried)}, by which particles of {lists[1]} are told ({label}, as "
            f"{names[0]}); expected one of them. {REMEDY}"
        )
    wanted = set(names)
    lacking = {one: wanted.difference(column) for one, column in columns.items()}
    best = min(lacking, key=lambda one: len(lacking[one]))
    if lacking[best]:
        some = next(name for name in names if name in lacking[best])
        own = columns[best][0] if columns[best] else "none"
        raise DataError(
            f"{lists[0]}: has {len(wanted) - len(lacking[best])} of the {len(wanted)} particles of {lists[1]} by their "
            f"names ({best}, as {own}), not {some}; expected all. {REMEDY}"
        )
    return columns[best], best


def _names_by(table: pd.DataFrame, label: str) -> list[str]:
    values: list[str] = table[label].to_list()
    if label != IMAGE:
        return values
    found = [OF_FILE.fullmatch(value) for value in values]
    return [value if match is None else match[1] for value, match in zip(values, found, strict=True)]


def _rows(column: list[str], label: str, names: list[str], lists: tuple[str, str]) -> Int[np.ndarray, "images"]:
    """Return the row of each name, which the column holds once."""
    wanted, row = set(names), dict[str, int]()
    for place, name in enumerate(column):
        if name in wanted and row.setdefault(name, place) != place:
            raise DataError(
                f"{lists[0]}: particle {name} of {lists[1]} stands in rows {row[name] + 1} and {place + 1} ({label}); "
                "expected one row a particle, and not one a tilt image. Give each row a name of its own."
            )
    return np.array([row[name] for name in names], np.int64)
