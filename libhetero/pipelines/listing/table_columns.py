"""One column of a table that a run or a classification wrote, and whose particles its values are.

What reads the record of a run loads JAX, which choosing without a table need not wait for: this is loaded when it is
asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.io.tables import read_numbers
from libhetero.pipelines.decoding.class_files import read_classes
from libhetero.pipelines.listing.identity import FROM_WHOLE, Images, image_numbers, places_in
from libhetero.pipelines.listing.run_tables import Table
from libhetero.pipelines.run.kept import run_of
from libhetero.pipelines.run.list_digest import images_digest, list_digest
from libhetero.pipelines.run.particle_record import ParticleRecord, check_set, followed, record_of
from libhetero.records import ParticleSet

EXPECTED = "particle index, from 0, and numbers"


@dataclass(frozen=True, eq=False)
class Column:
    """The values of one column of a table, and whose they are.

    Parameters
    ----------
    path : of the table.
    values : one for each particle that the table is of, NaN for those that it leaves out.
    whole : the list that it is of, where it is in no run folder.
    record : the particles that it is of, where it is in one.
    """

    path: Path
    values: Float[np.ndarray, "rows"]
    whole: ParticleSet
    record: ParticleRecord | None

    def places(self, particles: ParticleSet, name: str) -> Int[np.ndarray, "particles"]:
        """Return the place among `values` of each of some particles; -1 for those that the table is not of.

        Parameters
        ----------
        name : of their list, for messages.

        Raises
        ------
        DataError : for particles that have names and numbers of those of a run, and are others.
        """
        if self.record is not None:
            return rows_of_record(self.record, particles, name, str(self.path), FROM_WHOLE)
        of, own = (Images(one.files, one.file_id, one.image_index) for one in (self.whole, particles))
        numbers_of, numbers = image_numbers([of, own])
        return places_in(numbers, numbers_of, (name, str(self.path)), FROM_WHOLE)

    def stack(self) -> str:
        """Return the name of one of the stacks of its particles."""
        return (self.whole.files if self.record is None else self.record.names)[0]


def rows_of_record(
    record: ParticleRecord, particles: ParticleSet, name: str, where: str, remedy: str
) -> Int[np.ndarray, "particles"]:
    """Return the row of a run's record that each of some particles is in; -1 for those that it does not hold.

    Parameters
    ----------
    name : of the list of particles, for messages.
    where : what the record's rows are numbers in, for messages.
    remedy : sentence that says what to do where the record has an image several times.

    Raises
    ------
    DataError : for particles that have names and numbers of those of the run, and are others, and for such whose row
        cannot be told.
    """
    record = followed(record, particles)
    of = Images(record.names, record.file_id, record.image_index)
    numbers_of, numbers = image_numbers([of, Images(particles.files, particles.file_id, particles.image_index)])
    rows = places_in(numbers, numbers_of, (name, where), remedy)
    there = np.flatnonzero(rows >= 0)
    if len(there):
        check_set(record, rows[there], particles.take(there), name)
    return rows


def read_column(table: Table, place: int, whole: ParticleSet, name: str) -> Column:
    """Return the values of one column of a table.

    Parameters
    ----------
    place : of the column, after the index.
    whole : the list that a table outside of a run folder is of.
    name : of that list, for messages.

    Raises
    ------
    DataError : if the table is damaged, of another list, or has no such column.
    """
    folder = run_of(table.path.parent)
    record = record_of(folder)
    count = len(whole) if record is None else len(record.file_id)
    if table.names[0].endswith("class"):  # its first line may tell of which list it is
        told = list_digest(whole) if record is None else images_digest(record.names, record.file_id, record.image_index)
        read_classes(table.path, count, told)
    rows = read_numbers(table.path, EXPECTED, least=2, whole=(0,))
    index = rows[:, 0].astype(np.int64)
    where = f"{name}" if record is None else f"{folder}"
    _check_index(index, count, table.path, where)
    if place + 1 >= rows.shape[1]:
        raise DataError(f"{table.path}: {rows.shape[1] - 1} columns after the index; expected more than {place}.")
    values = np.full(count, np.nan)
    values[index] = rows[:, place + 1]
    return Column(table.path, values, whole, record)


def _check_index(index: Shaped[np.ndarray, "rows"], count: int, path: Path, where: str) -> None:
    if index.min() < 0 or index.max() >= count:
        wrong = index[(index < 0) | (index >= count)][0]
        raise DataError(
            f"{path}: particle {wrong} is not among the {count} of {where}; expected 0 to {count - 1}. Name the list "
            "that the table is of with --of."
        )
    if len(np.unique(index)) < len(index):
        raise DataError(f"{path}: names a particle more than once; expected a row a particle.")
