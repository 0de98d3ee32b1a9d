"""From lists to the particles that are asked for: combined by their images, then chosen by what is known of each."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from libhetero.configuration.limits import MOST_CLASSES
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_particles
from libhetero.io.indices import holds_indices, read_indices
from libhetero.io.origin import tables_kept
from libhetero.io.tilt_series import particle_keys
from libhetero.pipelines.listing import columns, run_tables
from libhetero.pipelines.listing.identity import FROM_WHOLE, Images, image_numbers, places_in, shared
from libhetero.pipelines.lists import CLASS, HALF, ListConfig
from libhetero.records import ParticleEstimates, ParticleSet

LOGGER = logging.getLogger(__name__)
Places = Int[np.ndarray, "_"]


@dataclass(frozen=True, eq=False)
class Given:
    """One of the lists.

    Parameters
    ----------
    name : as typed.
    particles : its.
    rows : of the whole list, where it says which; None where it lists particles itself.
    """

    name: str
    particles: ParticleSet
    rows: Places | None = None


@dataclass(frozen=True, eq=False)
class Chosen:
    """Particles, part by part.

    Parameters
    ----------
    parts : of each list that gives some, the list and the rows there.
    """

    parts: tuple[tuple[Given, Places], ...]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    def sets(self) -> list[ParticleSet]:
        """Return the particles of each part, those of a project list by the table that they were imported from."""
        return [part for given, rows in self.parts for part in columns.by_import(given.particles.take(rows))]

    def kept(self, which: Bool[np.ndarray, "particles"]) -> Chosen:
        """Return those of all particles, in the order of the parts, that are to be kept."""
        return self.at(np.flatnonzero(which))

    def at(self, places: Places) -> Chosen:
        """Return those at these places, which rise, among all particles in the order of the parts."""
        ends = np.cumsum([len(rows) for _, rows in self.parts])
        pieces = zip(self.parts, ends, np.split(places, np.searchsorted(places, ends[:-1])), strict=True)
        return Chosen(tuple((given, rows[piece - (end - len(rows))]) for (given, rows), end, piece in pieces))


@dataclass(eq=False)
class Choice:
    """Lists that were read, and what has been told of them so far.

    Parameters
    ----------
    whole : the list that numbers count in.
    given : the lists, in the order typed.
    numbers : of the images of `whole` and then of each of the lists, see `image_numbers`.
    told : (what, particles, remark).
    rows_of_whole : of each list, by its number, the row of `whole` that each of its particles is in; once asked for.
    halves_told : whether half-sets that part images of a particle were told.
    """

    whole: Given
    given: list[Given]
    numbers: list[Places]
    told: list[tuple[str, int, str]] = field(default_factory=list)
    rows_of_whole: dict[int, Places] = field(default_factory=dict)
    halves_told: bool = False

    @classmethod
    def of(cls, config: ListConfig) -> Choice:
        """Read the lists.

        Raises
        ------
        DataError : one line on the first that cannot be read.
        """
        name = config.whole or config.lists[0]
        if holds_indices(name):
            raise DataError(
                f"{name}: numbers of particles, which count in a list; expected that list. Give it first, or with --of."
            )
        whole = Given(name, _read(name, config))
        given = []
        for name in config.lists:
            if name == whole.name:
                given.append(Given(name, whole.particles, np.arange(len(whole.particles))))
            elif holds_indices(name):
                rows = read_indices(name, len(whole.particles), whole.name)
                given.append(Given(name, whole.particles.take(rows), rows))
            else:
                given.append(Given(name, _read(name, config)))
        numbers = image_numbers([Images.of(one.particles) for one in (whole, *given)])
        choice = cls(whole, given, numbers)
        choice._tell_lists()
        return choice

    def _tell_lists(self) -> None:
        for place, one in enumerate(self.given):
            remark = ""
            if place:
                both = int(shared(self.numbers[place + 1], self.numbers[1]).sum())
                remark = f"{both} of them in {self.given[0].name}"
            self.told.append((one.name, len(one.particles), remark))

    def chosen(self, config: ListConfig) -> Chosen:
        """Return the particles that are asked for, in the order of their lists.

        Raises
        ------
        UserError : where none is left, or what is asked for is not known of them.
        """
        with tables_kept():
            found = self._combined(config)
            found = found.kept(self._asked_for(found, config))
            if config.complement:
                found = self._others(found)
                self.told.append(("complement", len(found), f"the other particles of {self.whole.name}"))
        if config.random is not None:
            series = _series(found)
            found = found.kept(_at_random(series, config.random, config.seed))
            whole = "" if len(np.unique(series)) == len(series) else ", whole tilt series"
            self.told.append((f"random {config.random}", len(found), f"seed {config.seed}{whole}"))
        if not len(found):
            raise DataError(f"no particle is left {self._last()}; expected at least one. Nothing is written.")
        return found

    def _last(self) -> str:
        name, _, remark = self.told[-1]
        return f"after {name}" + (f" ({remark})" if remark else "")

    def _combined(self, config: ListConfig) -> Chosen:
        first, *others = self.given
        own = np.arange(len(first.particles))
        if not others or config.combined is None:
            return Chosen(((first, own),))
        of_first, *of_others = self.numbers[1:]
        if config.combined == "union":
            parts, seen = [(first, own)], [of_first]
            for one, numbers in zip(others, of_others, strict=True):
                parts.append((one, np.flatnonzero(~shared(numbers, np.concatenate(seen)))))
                seen.append(numbers)
            found = Chosen(tuple(parts))
        else:
            there = [shared(of_first, numbers) for numbers in of_others]
            if config.combined == "intersection":
                if not np.any(there):
                    raise DataError(self._strangers(first, others[0]))
                kept = np.all(there, axis=0)
            else:
                for one, both in zip(others, there, strict=True):
                    if not both.any():
                        LOGGER.warning("%s", self._strangers(first, one))
                kept = ~np.any(there, axis=0)
            found = Chosen(((first, np.flatnonzero(kept)),))
        self.told.append((config.combined, len(found), ""))
        return found

    def _strangers(self, first: Given, other: Given) -> str:
        """Return what is to be said of lists with no common image: the stacks are others, or under other names."""
        stacks = [one.particles.files[0] if one.particles.files else "none" for one in (first, other)]
        return (
            f"{first.name} and {other.name} have no particle in common: stacks of the first as {stacks[0]}, of the "
            f"second as {stacks[1]}. Where they are copies of each other, give their folder with --datadir, or lists "
            "that name the same stacks."
        )

    def _asked_for(self, found: Chosen, config: ListConfig) -> Bool[np.ndarray, "particles"]:
        """Return which of the combined particles fulfil all that is asked."""
        kept = np.ones(len(found), bool)

        def keep(which: Bool[np.ndarray, "particles"], what: str) -> None:
            kept[:] &= which
            self.told.append((what, int(kept.sum()), ""))

        if config.indices is not None:
            rows = read_indices(config.indices, len(self.whole.particles), self.whole.name)
            keep(np.isin(self.places(found), rows), f"in {config.indices}")
        if config.classes is not None:
            values = self.classes(found, config)
            keep(np.isin(values, config.classes), f"classes {','.join(map(str, config.classes))}")
        if config.half is not None:
            keep(self.value(found, HALF, config) == config.half, f"half-set {config.half}")
        for name, limit in config.least:
            keep(self.numbers_of(found, name, config) >= float(limit), f"{name} from {limit}")
        for name, limit in config.most:
            keep(self.numbers_of(found, name, config) <= float(limit), f"{name} to {limit}")
        for name, wanted in config.equal:
            keep(columns.equal_to(self.value(found, name, config), wanted.split(",")), f"{name} {wanted}")
        return kept

    def value(self, found: Chosen, name: str, config: ListConfig) -> Shaped[np.ndarray, "particles"]:
        """Return the value of each particle by the name of a column, those of runs' tables before those of lists.

        Raises
        ------
        DataError : if nothing is known by this name of some of the lists.
        """
        tables = [table for path in config.tables for table in run_tables.tables_at(path)]
        place = run_tables.find_column(tables, name)
        if place is not None:
            return self._of_table(found, *place)
        if tables and name == CLASS:  # which is another thing in a list: a .lst keeps its half-set by this name
            raise DataError(
                f"{', '.join(config.tables)}: no table of classes (classes.txt, classes_particles.txt); expected one. "
                "Sort the particles with e2hype_embed.py --classes, or name a table or a column with --class_from."
            )
        values = []
        for given, rows in found.parts:
            of_list = columns.list_column(given.particles, name)
            if of_list is None and name == HALF:
                raise DataError(
                    f"{given.name}: states no half-sets; expected rlnRandomSubset, alignments3D/split or such."
                )
            if of_list is None:
                further = [shown for table in tables for shown in table.shown()]
                raise columns.unknown_column(name, given.particles, further)
            values.append(of_list[rows])
        every = columns.joined_values(values)
        return self._whole_halves(every, found) if name == HALF else every

    def _whole_halves(self, half: Shaped[np.ndarray, "particles"], found: Chosen) -> Shaped[np.ndarray, "particles"]:
        """Return half-sets in which the images of a particle stay together: that of its first image."""
        whole = _of_first_image(half, _series(found))
        if (moved := int(np.sum(whole != half))) and not self.halves_told:
            LOGGER.warning(
                "half-sets part images of a particle: %d of %d images are in another than the first of their particle, "
                "with which they go. Make half-sets of whole particles.",
                moved,
                len(half),
            )
            self.halves_told = True
        return whole

    def numbers_of(self, found: Chosen, name: str, config: ListConfig) -> Float[np.ndarray, "particles"]:
        """Return the values of a column as numbers."""
        return columns.as_numbers(self.value(found, name, config), name, found.parts[0][0].name)

    def classes(self, found: Chosen, config: ListConfig) -> Float[np.ndarray, "particles"]:
        """Return the class of each particle, NaN where a table of classes leaves it out."""
        given = config.class_column
        if given is not None and Path(given).is_file():
            return self._of_table(found, run_tables.table_of_classes(given), 0, complete=False)
        if given is not None:
            return self.numbers_of(found, given, config)
        if config.tables:
            return self.numbers_of(found, CLASS, config)
        first = found.parts[0][0]
        for name in columns.CLASS_COLUMNS:
            if columns.list_column(first.particles, name) is not None:
                return self.numbers_of(found, name, config)
        raise DataError(
            f"{first.name}: states no classes ({', '.join(columns.CLASS_COLUMNS)}); expected a column or a table of "
            "them. Name it with --class_from."
        )

    def _of_table(
        self, found: Chosen, table: run_tables.Table, place: int, complete: bool = True
    ) -> Float[np.ndarray, "particles"]:
        """Return the values of a run's table for each particle; NaN, or refused, where the table leaves one out."""
        from libhetero.pipelines.listing.table_columns import read_column  # loads JAX

        column = read_column(table, place, self.whole.particles, self.whole.name)
        rows = np.concatenate([column.places(given.particles.take(rows), given.name) for given, rows in found.parts])
        first = found.parts[0][0]
        if not np.any(rows >= 0):
            own = first.particles.files[0] if first.particles.files else "none"
            raise DataError(
                f"{table.path}: says nothing of any particle of {first.name}: it is of stacks as {column.stack()}, the "
                f"list of stacks as {own}. Where one is a copy of the other, give the folder of the table's stacks "
                "with --datadir; otherwise name the list that the table is of."
            )
        result = np.where(rows >= 0, column.values[rows], np.nan)
        if complete and np.isnan(result).any():
            row = int(np.argmax(np.isnan(result)))
            raise DataError(
                f"{table.path}: says nothing of {int(np.isnan(result).sum())} of {len(result)} particles, first of "
                f"particle {row} (from 0) of {first.name}; expected all. Intersect with the list that the table is of "
                "first."
            )
        return result

    def estimates(self, found: Chosen, config: ListConfig) -> ParticleEstimates | None:
        """Return the contrast and the probability of being junk that a run's table gives for each particle.

        None where no table holds them, or where one leaves particles out, which is told.
        """
        tables = [table for path in config.tables for table in run_tables.tables_at(path)]
        places = [run_tables.find_column(tables, name) for name in ("contrast", "junk")]
        if any(place is None for place in places):
            return None
        contrast, junk = (self._of_table(found, *place, complete=False) for place in places if place is not None)
        lacking = int(np.isnan(contrast + junk).sum())
        if lacking:
            LOGGER.warning(
                "%s: says nothing of %d of %d particles; the lists are written without its columns of contrast and "
                "junk.",
                ", ".join(config.tables),
                lacking,
                len(found),
            )
            return None
        return ParticleEstimates(contrast, junk)

    def places(self, found: Chosen) -> Places:
        """Return the row of the whole list that each particle is in.

        Raises
        ------
        DataError : for particles that are not in the whole list, or whose row cannot be told.
        """
        rows = []
        for given, chosen in found.parts:
            of_whole = given.rows
            if of_whole is None:
                number = 1 + next(place for place, one in enumerate(self.given) if one is given)
                if number not in self.rows_of_whole:
                    names = (given.name, self.whole.name)
                    self.rows_of_whole[number] = places_in(self.numbers[number], self.numbers[0], names, FROM_WHOLE)
                of_whole = self.rows_of_whole[number]
            rows.append(of_whole[chosen])
        places = np.concatenate(rows)
        if np.any(places < 0):
            raise DataError(
                f"{int(np.sum(places < 0))} of {len(places)} particles are not in {self.whole.name}, in which numbers "
                "of particles count; expected all. Name the whole list with --of."
            )
        return places

    def _others(self, found: Chosen) -> Chosen:
        left = np.ones(len(self.whole.particles), bool)
        left[self.places(found)] = False
        whole = Given(self.whole.name, self.whole.particles, np.arange(len(left)))
        return Chosen(((whole, np.flatnonzero(left)),))


def _read(name: str, config: ListConfig) -> ParticleSet:
    passthrough = config.passthrough if Path(name).suffix.lower() == ".cs" else ()
    return read_particles(name, datadir=config.datadir, passthrough=passthrough, need_images=False)


def _at_random(series: Places, amount: str, seed: int) -> Bool[np.ndarray, "particles"]:
    """Return which images are kept of so many particles drawn, given the particle that each image shows."""
    every, particle = np.unique(series, return_inverse=True)
    count = len(every)
    wanted = round(count * float(amount[:-1]) / 100) if amount.endswith("%") else int(amount)
    if wanted > count:
        raise ConfigurationError(f"--random {amount}: expected at most the {count} particles there are.")
    kept = np.zeros(count, bool)
    kept[np.random.default_rng(seed).permutation(count)[:wanted]] = True
    return kept[particle]


def _series(found: Chosen) -> Places:
    """Return the particle that each image shows, numbered as they come, one that several lists name once; of single
    images their place."""
    parts = [given.particles.take(rows) for given, rows in found.parts if len(rows)]
    if all(part.group is None for part in parts):
        return np.arange(len(found))
    by_name = any(part.source is not None and part.source.format == "star" for part in parts)
    keys: list[Hashable] = []
    for number, part in enumerate(parts):
        if part.group is None:
            keys.extend((number, place) for place in range(len(part)))
        elif len(parts) == 1:
            keys.extend(part.group.tolist())
        else:
            keys.extend(particle_keys(part, by_name))
    number_of: dict[Hashable, int] = {}
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)


def _of_first_image(values: Shaped[np.ndarray, "particles"], series: Places) -> Shaped[np.ndarray, "particles"]:
    """Return the values of the first image of each particle for all of its images."""
    _, first, particle = np.unique(series, return_index=True, return_inverse=True)
    return values[first][particle]


def split_values(choice: Choice, found: Chosen, name: str, config: ListConfig) -> dict[str, Places]:
    """Return the places of the particles that have each value of a column, by the value as text, in rising order.

    Raises
    ------
    DataError : for a column of too many values.
    """
    values = choice.classes(found, config) if name == CLASS else choice.value(found, name, config)
    unlike, which = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
    if len(unlike) > MOST_CLASSES:
        raise DataError(f"--split {name}: {len(unlike)} values; expected at most {MOST_CLASSES}, a list for each.")
    order = np.argsort(which, kind="stable")
    pieces = np.split(order, np.cumsum(np.bincount(which))[:-1])
    return {_value_text(value): piece for value, piece in zip(unlike, pieces, strict=True) if value == value}  # no NaN


def _value_text(value: object) -> str:
    number = isinstance(value, float | np.floating) and float(value).is_integer()
    return f"{value:.0f}" if number else str(value)


def known_columns(choice: Choice, config: ListConfig) -> list[str]:
    """Return the names of all columns of the first list and of the tables."""
    tables = [table for path in config.tables for table in run_tables.tables_at(path)]
    shown = [name for table in tables for name in table.shown()]
    return [*shown, *columns.column_names(choice.given[0].particles)]
