"""Tables of numbers that a run or a classification wrote of its particles, by the names of their columns.

A table in a run folder is of the particles that the run recorded, and joins another list by the images; any other is of
the whole list, row by row, and a table of classes says of which list it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from libhetero.errors import DataError
from libhetero.files import check_readable

FINDINGS = ("contrast", "contrast_sd", "evidence", "junk")
CLASS_NAMES = ("class", "probability")
TABLES: tuple[tuple[str, tuple[str, ...]], ...] = (  # files of a folder, and the columns after the particle's index
    (r"particles(?:_00)?\.txt", FINDINGS),
    (r"mid_00\.txt", ("latent",)),
    (r"mid_00_sd\.txt", ("latent_sd",)),
    (r"embed_particles\.txt", ("x", "y")),
    (r"classes(?:_particles)?\.txt", CLASS_NAMES),
    (r"classes_(?P<of>region_[0-9]+)\.txt", CLASS_NAMES),
    (r"embed_(?P<of>region_[0-9]+)\.txt", ("",)),
)


@dataclass(frozen=True, eq=False)
class Table:
    """One text file of numbers.

    Parameters
    ----------
    path : of it.
    names : of its columns but the first; one name stands for any number of them, which are counted from 0.
    """

    path: Path
    names: tuple[str, ...]

    def place(self, name: str) -> int | None:
        """Return which column after the index has this name; None where none has."""
        if name in self.names and len(self.names) > 1:
            return self.names.index(name)
        if len(self.names) == 1:
            found = re.fullmatch(rf"{re.escape(self.names[0])}_?([0-9]{{1,4}})", name)
            return int(found[1]) if found else None
        return None

    def shown(self) -> tuple[str, ...]:
        """Return the names of its columns for people."""
        return self.names if len(self.names) > 1 else (f"{self.names[0]}0", f"{self.names[0]}1 …")


def tables_at(path: str) -> list[Table]:
    """Return the tables of a run folder or of the folder of a classification, or the one file.

    Raises
    ------
    DataError : if there is none.
    """
    place = Path(path)
    if not place.is_dir():
        check_readable(place)
    if place.is_dir():
        found = [made for file in sorted(place.glob("*.txt")) if (made := _known(file)) is not None]
        if not found:
            raise DataError(
                f"{path}: holds no table of particles (particles_00.txt, mid_00.txt, classes_particles.txt …); "
                "expected a run folder or that of a classification. Train the run to its end, or give the table itself."
            )
        return found
    known = _known(place)
    return [known or Table(place, ("column",))]


def _known(path: Path) -> Table | None:
    for pattern, names in TABLES:
        found = re.fullmatch(pattern, path.name)
        if found is not None:
            of = f"{found['of']}_" if "of" in found.groupdict() else ""
            return Table(path, tuple(f"{of}{name}" for name in names))
    return None


def find_column(tables: Sequence[Table], name: str) -> tuple[Table, int] | None:
    """Return the table that has a column of this name, and its place after the index; None where none has."""
    for table in tables:
        place = table.place(name)
        if place is not None:
            return table, place
    return None


def table_of_classes(path: str) -> Table:
    """Return a file of particle index, class and, where it is known, probability."""
    return Table(Path(path), CLASS_NAMES)
