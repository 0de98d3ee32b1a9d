"""Values of particles by the name of a column: of their list, of the table behind it, and what follows from them."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from libhetero.errors import DataError
from libhetero.io import lst, star
from libhetero.io.check import describe_source
from libhetero.io.cs_columns import names_of
from libhetero.io.cs_table import read_table as read_cs_table
from libhetero.io.micrographs import as_text
from libhetero.io.origin import original_table
from libhetero.io.tilt_series import known_exposure
from libhetero.records import ParticleSet

CLASS_COLUMNS = ("rlnClassNumber", "alignments3D/class", "alignments2D/class")
OTHER_NAMES = {  # of what a run found, in lists
    "contrast": ("libheteroContrast", "hetero_particle_contrast"),
    "junk": ("libheteroJunk", "hetero_junk"),
    "pose_turn": ("libheteroPoseTurn", "hetero_pose_turn", "libhetero/pose_turn_deg"),
    "pose_shift": ("libheteroPoseShift", "hetero_pose_shift", "libhetero/pose_shift_A"),
}
PART = re.compile(r"(.+)\[([0-9]{1,4})\]")
MOST_SHOWN = 40  # names in a message


def _defocus(particles: ParticleSet) -> Any:
    ctf = particles.ctf
    return None if ctf is None else (np.asarray(ctf.defocus_u, np.float64) + ctf.defocus_v) / 2e4


def _astigmatism(particles: ParticleSet) -> Any:
    ctf = particles.ctf
    return None if ctf is None else np.abs(np.asarray(ctf.defocus_u, np.float64) - ctf.defocus_v) / 1e4


def _phase_shift(particles: ParticleSet) -> Any:
    return None if particles.ctf is None else np.degrees(particles.ctf.phase_shift)


def _voltage(particles: ParticleSet) -> Any:
    return None if particles.ctf is None else particles.ctf.voltage


def _shift(particles: ParticleSet) -> Any:
    return None if particles.pose is None else np.linalg.norm(particles.pose.shift, axis=1)


def _tilt(particles: ParticleSet) -> Any:
    if particles.pose is None:
        return None
    return np.degrees(np.arccos(np.clip(particles.pose.rotation[:, 2, 2], -1, 1)))


def _half(particles: ParticleSet) -> Any:
    return None if particles.half_set is None else np.asarray(particles.half_set) + 1


def _stage_tilt(particles: ParticleSet) -> Any:
    return None if particles.tilt is None else np.abs(particles.tilt)


DERIVED: dict[str, tuple[str, Callable[[ParticleSet], Any]]] = {
    "defocus": ("µm, mean of U and V", _defocus),
    "astigmatism": ("µm, U - V without its sign", _astigmatism),
    "phase_shift": ("degrees", _phase_shift),
    "voltage": ("kV", _voltage),
    "shift": ("Å, length", _shift),
    "tilt": ("degrees, 0 to 180: RELION's tilt, EMAN2's alt", _tilt),
    "half": ("half-set, 1 or 2", _half),
    "stage_tilt": ("degrees, of an image of a tilt series, without its sign", _stage_tilt),
    "exposure": ("e-/Å², up to the middle of an image of a tilt series", known_exposure),
    "series": ("particle that an image of a tilt series shows, from 0", lambda particles: particles.group),
    "box": ("pixels", lambda particles: particles.box_size),
    "pixel_size": ("Å", lambda particles: particles.pixel_size),
    "image": ("number in its stack, from 0", lambda particles: particles.image_index),
    "stack": ("file", lambda particles: np.array(particles.files or ("",), object)[particles.file_id]),
}


def list_column(particles: ParticleSet, name: str) -> Shaped[np.ndarray, "particles"] | None:
    """Return the value of each particle, numbers or text (objects); None where nothing is known by this name.

    Parameters
    ----------
    name : one of `DERIVED`, a label of a .star with or without its "_", a column of a .cs (`NAME[1]` for a part of it),
        a key of a .lst, or a column of the table that a .lst was imported from.
    """
    if name in DERIVED:
        found = DERIVED[name][1](particles)
        return None if found is None else np.asarray(found)
    parts = by_import(particles)
    if len(parts) > 1:
        values = [list_column(part, name) for part in parts]
        return None if any(one is None for one in values) else joined_values(values)
    for each in (name, *OTHER_NAMES.get(name, ())):
        for found in (_of_lst(particles, each), _of_star(particles, each), _of_cs(particles, each)):
            if found is not None:
                return found
    return None


def joined_values(parts: Sequence[Any]) -> Shaped[np.ndarray, "particles"]:
    """Return the values of several parts one after the other: numbers, or objects where some are text."""
    alike = len({part.dtype.kind == "O" for part in parts}) == 1
    return np.concatenate(parts if alike else [part.astype(object) for part in parts])


@functools.lru_cache(16)
def by_import(particles: ParticleSet) -> tuple[ParticleSet, ...]:
    """Return the particles of a project list by the table that they were imported from; the set where that is one.

    It is also one where particles of several tables stand mixed, whose order would change.
    """
    source = particles.source
    if source is None or source.format != "lst" or not len(source.rows):
        return (particles,)
    names = [str(lst.line_values(source.data, int(row)).get("hetero_source")) for row in source.rows]
    begins = [0, *(row for row in range(1, len(names)) if names[row] != names[row - 1])]
    if len(begins) > len(set(names)) or len(begins) == 1:
        return (particles,)
    return tuple(particles.take(slice(*ends)) for ends in zip(begins, [*begins[1:], len(names)], strict=True))


@functools.lru_cache(16)
def _star_behind(particles: ParticleSet) -> Any:
    return original_table(particles, "star", star.read_table)


@functools.lru_cache(16)
def _cs_behind(particles: ParticleSet) -> Any:
    return original_table(particles, "cs", read_cs_table)


def _of_lst(particles: ParticleSet, name: str) -> Shaped[np.ndarray, "particles"] | None:
    source = particles.source
    if source is None or source.format != "lst":
        return None
    quoted = lst.text_of({name: 0})[1:-2]  # as it stands in the text of a line, which need not be parsed without it
    values = [
        _one_value(lst.line_values(source.data, int(row)).get(name)) if quoted in source.data.texts[int(row)] else None
        for row in source.rows
    ]
    return None if all(value is None for value in values) else np.array(values, object)


def _one_value(value: Any) -> Any:
    """Return a JSON value as a number or text: a list or an object as its JSON text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _of_star(particles: ParticleSet, name: str) -> Shaped[np.ndarray, "particles"] | None:
    found = _star_behind(particles)
    return None if found is None else found[0].column(name.removeprefix("_"), found[1])


def _of_cs(particles: ParticleSet, name: str) -> Shaped[np.ndarray, "particles"] | None:
    found = _cs_behind(particles)
    if found is None:
        return None
    part = PART.fullmatch(name)
    column, place = (part[1], int(part[2])) if part else (name, None)
    rows = found[0].particles
    if column not in names_of(rows):
        return None
    values = rows[column][found[1]]
    if values.ndim > 1:
        values = values.reshape(len(values), -1)
        if place is None or place >= values.shape[1]:
            raise DataError(
                f"{found[0].path}: {column} has {values.shape[1]} values a particle; name one of them, {column}[0] to "
                f"{column}[{values.shape[1] - 1}]."
            )
        return values[:, place]
    return np.array([as_text(value) for value in values.tolist()], object) if values.dtype.kind in "SU" else values


def column_names(particles: ParticleSet) -> list[str]:
    """Return the names that `list_column` knows of a set."""
    names = [name for name, (_, value) in DERIVED.items() if value(particles) is not None]
    source = particles.source
    if source is not None and source.format == "lst" and len(source.rows):
        names += list(lst.line_values(source.data, int(source.rows[0])))
    parts = by_import(particles)
    if len(parts) > 1:
        others = [set(column_names(part)) for part in parts[1:]]
        return [name for name in column_names(parts[0]) if all(name in other for other in others)]
    star_table = _star_behind(particles)
    if star_table is not None:
        names += [*(() if star_table[0].optics is None else star_table[0].optics), *star_table[0].particles]
    cs_table = _cs_behind(particles)
    if cs_table is not None:
        names += names_of(cs_table[0].particles)
    return list(dict.fromkeys(names))


def unknown_column(name: str, particles: ParticleSet, further: Sequence[str] = ()) -> DataError:
    """Return the refusal of a name, with those that are known."""
    known = [*further, *column_names(particles)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]}?" if near else ""
    shown = ", ".join(known[:MOST_SHOWN]) + (f" and {len(known) - MOST_SHOWN} more" if len(known) > MOST_SHOWN else "")
    return DataError(
        f"{describe_source(particles)}: no column {name}.{hint} Expected one of {shown}; those of a run "
        "with --table RUN."
    )


def as_numbers(values: Shaped[np.ndarray, "particles"], name: str, where: str) -> Float[np.ndarray, "particles"]:
    """Return the values of a column as numbers.

    Raises
    ------
    DataError : for a particle whose value is none.
    """
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.array([_number(value) for value in values])
    if np.isnan(numbers).any():
        row = int(np.argmax(np.isnan(numbers)))
        raise DataError(
            f"{where}: {name} of particle {row} (from 0) is {str(values[row])[:40]!r}; expected a number for each "
            "particle. Choose by its text with --equal, or by another column."
        )
    return numbers


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def equal_to(values: Shaped[np.ndarray, "particles"], wanted: Sequence[str]) -> np.ndarray:
    """Return which values are one of those wanted: as numbers where both are, as text elsewhere."""
    numbers = {float(text) for text in wanted if not np.isnan(_number(text))}
    known: dict[Any, bool] = {}
    chosen = np.zeros(len(values), bool)
    for row, value in enumerate(values.tolist()):
        if value not in known:
            known[value] = str(value) in wanted or _number(value) in numbers
        chosen[row] = known[value]
    return chosen
