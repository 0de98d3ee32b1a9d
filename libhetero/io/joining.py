"""Particles of several lists in one file: each part is written as a list of its own kind is, and the parts are joined.

So every particle keeps what the file that it came from says of it. Columns that not all parts have are left out, and
named, but for optics that change no image where they are not stated. RELION's optics groups that say the same become
one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.files.temporary import temporary_name
from libhetero.io import cs_table, lst, star
from libhetero.io.aberrations import ABERRATIONS
from libhetero.io.check import describe_source
from libhetero.io.cs_columns import names_of
from libhetero.io.particles import write_particles
from libhetero.io.star import EXPOSURE, StarTable
from libhetero.io.star_text import StarFile, write_star_file
from libhetero.io.star_writer import state_exposures
from libhetero.io.tilt_series import particle_names
from libhetero.records import ParticleSet

logger = logging.getLogger(__name__)

ENDINGS = (".lst", ".star", ".cs")
GROUP, GROUP_NAME, SUBSET = "rlnOpticsGroup", "rlnOpticsGroupName", "rlnRandomSubset"
NEUTRAL = {
    label: f"{value:.6f}" if one.shape else "[0.000000]"
    for one in ABERRATIONS
    for label, value in zip(one.labels, one.neutral, strict=True)
}


def write_joined(path: str | os.PathLike, parts: Sequence[ParticleSet]) -> None:
    """Write the particles of several sets, one set after the other, into one list.

    Parameters
    ----------
    path : .lst, .star or .cs.
    parts : at least one; without an image that two of them have.

    Raises
    ------
    DataError : if they cannot stand in one list: only some have poses or a CTF or are phase-flipped, or contrasts
        differ.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise DataError(f"{path}: expected a list to write, {', '.join(ENDINGS)}; got '{path.suffix}'.")
    parts = [part for part in parts if len(part)] or list(parts[:1])
    if len(parts) == 1:
        write_particles(path, parts[0])
        return
    parts, dropped = _alike(parts, path)
    with _folder_beside(path) as folder:
        names = [folder / f"{number}{path.suffix}" for number in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            write_particles(name, part)
        if path.suffix == ".lst":
            _join_lst(path, names, dropped, _series_numbers(parts, names))
        elif path.suffix == ".star":
            _join_star(path, names, dropped)
        else:
            _join_cs(path, names, dropped)


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """Make a hidden folder for the parts, in which no name that a list may hold is found."""
    folder = temporary_name(path.with_suffix(""))
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alike(parts: Sequence[ParticleSet], path: Path) -> tuple[list[ParticleSet], tuple[str, ...]]:
    """Return parts that may stand in one list, and what is left out as only some have it.

    That is "half", "contrast", "group", "tilt" and "exposure".

    Raises
    ------
    DataError : where parts are unlike in what cannot be left out.
    """
    names = [describe_source(part) for part in parts]
    for what, held in (
        ("poses", [part.pose is not None for part in parts]),
        ("a CTF", [part.ctf is not None for part in parts]),
        ("phase-flipped images", [part.phase_flipped for part in parts]),
    ):
        if any(held) != all(held):
            raise DataError(
                f"{path}: {names[held.index(True)]} has {what}, {names[held.index(False)]} has not; expected lists of "
                "one kind. Give both what one lacks, or leave one out."
            )
    signs = [part.contrast for part in parts]
    if {1, -1} <= set(signs):
        raise DataError(
            f"{path}: protein is white in {names[signs.index(1)]} and dark in {names[signs.index(-1)]}; expected one "
            "contrast. Invert the images of one."
        )
    dropped = []
    if 0 in signs and any(signs):
        dropped.append("contrast")
        logger.warning("%s: %s does not state the contrast, so this list does not.", path, names[signs.index(0)])
        parts = [dataclasses.replace(part, contrast=0) for part in parts]
    halves = [part.half_set is not None for part in parts]
    if any(halves) != all(halves):
        dropped.append("half")
        logger.warning("%s: %s has no half-sets, so this list has none.", path, names[halves.index(False)])
        parts = [dataclasses.replace(part, half_set=None) for part in parts]
    groups = [part.group is not None for part in parts]
    if any(groups) != all(groups):
        dropped.append("group")
        logger.warning("%s: %s has no tilt series, so this list has none.", path, names[groups.index(False)])
        parts = [dataclasses.replace(part, group=None) for part in parts]
    for what, held in (
        ("tilt", [part.tilt is not None for part in parts]),
        ("exposure", [part.ctf is not None and part.ctf.exposure is not None for part in parts]),
    ):
        if any(held) != all(held):
            dropped.append(what)
            logger.warning("%s: %s tells no %ss, so this list does not.", path, names[held.index(False)], what)
            parts = [_without(part, what) for part in parts]
    return list(parts), tuple(dropped)


def _without(part: ParticleSet, what: str) -> ParticleSet:
    """Return a set without "tilt" or "exposure"."""
    if what == "tilt" or part.ctf is None:
        return dataclasses.replace(part, tilt=None)
    return dataclasses.replace(part, ctf=dataclasses.replace(part.ctf, exposure=None))


def _join_lst(
    path: Path, names: Sequence[Path], dropped: Sequence[str], series: Sequence[Sequence[int]] | None
) -> None:
    """Join project lists.

    Parameters
    ----------
    dropped : what is left out.
    series : of each list, the number of the particle that each image shows (`ptcl3d_id`); None as the lists say.
    """
    keys = {
        "contrast": ("hetero_contrast",),
        "half": ("hetero_half", "class"),
        "group": ("ptcl3d_id",),
        "tilt": ("hetero_tilt",),
        "exposure": ("hetero_exposure",),
    }
    without = {key for word in dropped for key in keys[word]}
    records = []
    for place, name in enumerate(names):
        for row, line in enumerate(lst.record_lines(name)):
            if without or series is not None:
                index, stack, text = line.split("\t", 2)
                kept = {key: value for key, value in lst.json_of(text, str(name)).items() if key not in without}
                if series is not None:
                    kept["ptcl3d_id"] = series[place][row]
                line = f"{index}\t{stack}\t{lst.text_of(kept)}"
            records.append(line.encode())
    lst.write_records(path, records)


def _series_numbers(parts: Sequence[ParticleSet], names: Sequence[Path]) -> list[list[int]] | None:
    """Return a number for the particle that each image of each part shows, one for one particle in all of them.

    A particle is one by the name that its list has for it and, of a project list, by the table that was imported. None
    where the numbers that the written lists have mean one particle each already, or there are no tilt series.
    """
    if any(part.group is None for part in parts):
        return None
    told: list[list[tuple[str, str]]] = []
    written: list[list[int]] = []
    for part, name in zip(parts, names, strict=True):
        lines = [lst.json_of(line.split("\t", 2)[2], str(name)) for line in lst.record_lines(name)]
        own = part.source is not None and part.source.format == "star"
        origin = "" if own else str(lines[0].get("hetero_source", "")) if lines else ""
        called = particle_names(part) if own else [str(line["ptcl3d_id"]) for line in lines]
        told.append([(origin, one) for one in called])
        written.append([int(line["ptcl3d_id"]) for line in lines])
    pairs = {
        (number, key)
        for numbers, keys in zip(written, told, strict=True)
        for number, key in zip(numbers, keys, strict=True)
    }
    if len({number for number, _ in pairs}) == len({key for _, key in pairs}) == len(pairs):
        return None
    place: dict[tuple[str, str], int] = {}
    return [[place.setdefault(key, len(place)) for key in keys] for keys in told]


def _join_cs(path: Path, names: Iterable[Path], dropped: Sequence[str]) -> None:
    without = {"contrast": {"blob/sign"}, "half": {"alignments3D/split"}}
    tables = [cs_table.read_table(name).particles for name in names]
    left_out = {column for word in dropped for column in without.get(word, ())}
    held = [name for name in names_of(tables[0]) if name not in left_out and _fits(name, tables)]
    _tell_lost(path, held, [names_of(table) for table in tables])
    kinds = [(name, _common_kind([table.dtype[name] for table in tables])) for name in held]
    rows = np.zeros(sum(map(len, tables)), kinds)
    start = 0
    for table in tables:
        for name in held:
            rows[name][start : start + len(table)] = table[name]
        start += len(table)
    with replacing(path) as beside, open(beside, "wb") as file:
        np.save(file, rows, allow_pickle=False)


def _fits(name: str, tables: Sequence[Shaped[np.ndarray, "_"]]) -> bool:
    """Return whether all tables have a column of this name, and of one shape and kind."""
    if not all(name in names_of(table) for table in tables):
        return False
    kinds = {(table.dtype[name].shape, table.dtype[name].base.kind in "SU") for table in tables}
    return len(kinds) == 1


def _common_kind(kinds: Sequence[np.dtype]) -> np.dtype:
    return np.dtype((np.result_type(*(kind.base for kind in kinds)), kinds[0].shape))


def _join_star(path: Path, names: Iterable[Path], dropped: Sequence[str]) -> None:
    tables = [star.read_table(name) for name in names]
    if len({table.optics is None for table in tables}) > 1:
        raise DataError(
            f"{path}: some of the lists are in the layout of RELION 3.0, without optics groups, others in that of 3.1; "
            "expected one. Convert the older with relion_convert_star, or write a .lst."
        )
    frames = [table.particles for table in tables]
    blocks: dict[str, Any] = dict(tables[0].blocks)
    if tables[0].optics is not None:
        blocks["optics"], numbers = _joined_optics(path, [_optics(table) for table in tables])
        rows = [table.optics_row() for table in tables]
        frames = [frame.assign(**{GROUP: own[row]}) for frame, own, row in zip(frames, numbers, rows, strict=True)]
    exposures = None if "exposure" in dropped else _exposures(tables)
    if exposures is not None and any(EXPOSURE in frame for frame in frames):
        frames = [
            frame.assign(**{EXPOSURE: [f"{one:.6f}" for one in own]})
            for frame, own in zip(frames, exposures, strict=True)
        ]
    held = [label for label in frames[0] if all(label in frame for frame in frames)]
    held = [label for label in held if not (label == SUBSET and "half" in dropped)]
    _tell_lost(path, held, [tuple(frame.columns) for frame in frames])
    blocks[tables[0].name] = pd.concat([frame[held] for frame in frames], ignore_index=True)
    if exposures is not None:
        state_exposures(StarTable(str(path), blocks, tables[0].name), np.concatenate(exposures))
    write_star_file(path, StarFile(blocks, tables[0].versions))


def _exposures(tables: Sequence[StarTable]) -> list[Float[np.ndarray, "_"]] | None:
    """Return the exposures of each table's images; None where one tells none."""
    found = [exposure for table in tables if (exposure := star.read_exposure(table)) is not None]
    return found if len(found) == len(tables) else None


def _optics(table: StarTable) -> pd.DataFrame:
    optics = table.optics
    if optics is None:
        raise DataError(f"{table.path}: no optics groups; expected those of RELION 3.1.")
    return optics if GROUP in optics else optics.assign(**{GROUP: "1"})


def _joined_optics(path: Path, groups: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, list[Shaped[np.ndarray, "_"]]]:
    """Return the optics groups of all tables, each once, and for every table the new number (text) of each row.

    Groups are one where all but their numbers is the same; another of the same name gets a name of its own, as RELION
    joins lists by these names.
    """
    every = list(dict.fromkeys(label for optics in groups for label in optics))
    held = [label for label in every if label in NEUTRAL or all(label in optics for optics in groups)]
    _tell_lost(path, held, [tuple(optics.columns) for optics in groups])
    known: dict[tuple[str, ...], int] = {}
    taken: set[str] = set()
    rows: list[dict[str, str]] = []
    numbers = []
    for optics in groups:
        own = []
        for _, row in optics.iterrows():
            values = {label: str(row[label]) if label in optics else NEUTRAL[label] for label in held}
            key = tuple(value for label, value in values.items() if label != GROUP)
            if key not in known:
                known[key] = len(known) + 1
                values[GROUP] = str(known[key])
                if GROUP_NAME in values:
                    values[GROUP_NAME] = _free_name(values[GROUP_NAME], taken)
                rows.append(values)
            own.append(str(known[key]))
        numbers.append(np.array(own, object))
    return pd.DataFrame(rows, columns=held), numbers


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def _tell_lost(path: Path, held: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """Name the columns that not all parts have, and that are left out."""
    lost = [name for name in dict.fromkeys(name for one in columns for name in one) if name not in held]
    if lost:
        shown = ", ".join(lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
        logger.warning("%s: columns that not all of the lists have are left out: %s.", path, shown)
