"""EMAN2 list files (.lst): one particle a line, `index<TAB>stack<TAB>json`.

Every line has the same length in bytes, stated in the header. Stack names are relative to the project
folder, JSON values override those of the image header, and keys of our own begin with `hetero_`
(`libhetero.io.image_header` declares all that are read). Text is UTF-8; EMAN2 itself finds its way only in lists
that are ASCII, as it counts characters where it should count bytes, and parts of it read a stack's name up to its first
white space.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.files import absolute_path, check_readable, replacing
from libhetero.io import eman, hdf
from libhetero.io.aberrations import KEYS, aberration_keys, with_key_aberrations
from libhetero.io.ctf_columns import BESIDE_EMAN2, CTFColumn, beside_eman2
from libhetero.io.entries import Entries, unique_names
from libhetero.io.image_header import check_header
from libhetero.io.paths import NameNotHeld, project_path, resolve_path
from libhetero.io.pose_changes import pose_figures
from libhetero.io.source_images import image_texts, imported_from
from libhetero.records import CTFParams, ParticleEstimates, ParticleSet, SourceTable

logger = logging.getLogger(__name__)

COMMENT = "# Lines after the next one all have the length it states; keep it so when editing."
LONGEST_LINE = 2**20  # bytes; EMAN2's own have up to some ten thousand
OF_ORIGIN = ("hetero_source", "hetero_row", "hetero_image", "hetero_joined")  # which `origin` asks for again
NUMBER = re.compile("[0-9]{1,10}")
WHITE = re.compile(r"\s")  # at which parts of EMAN2 end a stack's name
SURROGATE = re.compile("[\ud800-\udfff]")  # what a byte that is not UTF-8 is read as
DIGITS = eman.DIGITS
POSE_KEYS = {  # of how far each pose was moved
    "PoseTurn": "hetero_pose_turn",
    "PoseTurnSd": "hetero_pose_turn_sd",
    "PoseShift": "hetero_pose_shift",
    "PoseShiftSd": "hetero_pose_shift_sd",
}


@dataclass(frozen=True, eq=False)
class LstTable:
    """Lines of a list: stack names as written, and the JSON text of each line ("" for none)."""

    path: str
    names: list[str]
    texts: list[str]


def read_lst(path: str | os.PathLike, datadir: str | os.PathLike | None = None) -> Entries:
    """Read a list; what a line's JSON lacks is taken from the .hdf image it points to.

    Raises
    ------
    DataError : for a line that is damaged, holds a key that is not what it should be, or would run code in EMAN2.
    """
    table, index, values = _parse(path)
    names, name_id = unique_names(table.names)
    _complete(values, names, name_id, index, path, datadir)
    source = SourceTable("lst", table, np.arange(len(index)))
    return entries_from_values(values, names, name_id, index, source, path)


def entries_from_values(
    values: list[dict[str, Any]],
    names: tuple[str, ...],
    name_id: np.ndarray,
    index: np.ndarray,
    source: SourceTable,
    path: str | os.PathLike,
) -> Entries:
    """Return what checked header values (one dictionary a particle) say of particles.

    Raises
    ------
    DataError : for particles of several kinds: only some phase-flipped, of another contrast, or with pose, CTF,
        half-set or tilt series.
    """
    pose, ctf, group = _pose(values, path), _ctf(values, path), _group(values, path)
    return Entries(
        names=names,
        name_id=name_id,
        image_index=index,
        source=source,
        box_size=np.zeros(len(index), np.int64),
        pixel_size=np.array([_pixel_size(v) for v in values], np.float64),
        rotation=None if pose is None else pose[0],
        shift=None if pose is None else pose[1],
        ctf=ctf,
        contrast=_contrast(values, path),
        phase_flipped=_phase_flipped(values, path),
        half_set=_half_set(values, path),
        group=group,
        tilt=None if group is None else _of_each(values, "hetero_tilt", "tilt (hetero_tilt)", path),
        estimates=_estimates(values),
    )


def _parse(path: str | os.PathLike) -> tuple[LstTable, np.ndarray, list[dict[str, Any]]]:
    """Return the lines of a list, the number of each one's image, and what their JSON says."""
    check_readable(path)
    table, index, values = LstTable(str(path), [], []), [], []
    for number, line in _lines(path):
        where = f"{path}: line {number}"
        if number == 1 and not line.startswith(("#LSX", "#LST")):
            raise DataError(f"{path}: the first line is '{line.rstrip()[:20]}'; expected #LSX (EMAN2 list).")
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.rstrip().split("\t" if "\t" in line else None, 2)]
        if len(fields) < 2 or not fields[1] or not NUMBER.fullmatch(fields[0]):
            raise DataError(f"{where} is not 'index<TAB>stack<TAB>json'; mend it.")
        if not _is_utf8(fields[1]):
            raise DataError(f"{where}: the stack's name is not UTF-8; rename the stack, and write the list again.")
        text = fields[2] if len(fields) > 2 else ""
        values.append(_checked(json_of(text, where), where))
        index.append(int(fields[0]))
        table.names.append(sys.intern(fields[1]))
        table.texts.append(text)
    return table, np.array(index, np.int64), values


def _lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line; what is not UTF-8 becomes lone surrogates."""
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            if len(line) == LONGEST_LINE:
                raise DataError(f"{path}: line {number} has more than {LONGEST_LINE} bytes; not an EMAN2 list.")
            yield number, line.decode("utf-8", "surrogateescape")


def _is_utf8(text: str) -> bool:
    return text.isascii() or not SURROGATE.search(text)


def _checked(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the values that a particle set is made of; a million lines would not fit otherwise."""
    checked = check_header(values, where)
    if ("hetero_source" in checked) != ("hetero_row" in checked):
        raise DataError(
            f"{where}: expected hetero_source and hetero_row, found one of them. Import the particles again."
        )
    for key in OF_ORIGIN:
        checked.pop(key, None)
    if "class" in values:  # other programs write what they like there
        checked["class"] = values["class"]
    return checked


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose names are one string each in all lines, not one a line.

    Raises
    ------
    ValueError : for a name that stands twice, or that makes EMAN2 run code.
    """
    intern = sys.intern
    values = {intern(key): value for key, value in pairs}
    if len(values) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"{twice[:40]!r} stands twice in it")
    if "__pickle__" in values:
        raise ValueError("a __pickle__ entry, which can run any code; refused")
    return values


DECODER = json.JSONDecoder(object_pairs_hook=_object)  # one for all lines: `json.loads` would make one a line


def json_of(text: str, where: str) -> dict[str, Any]:
    """Return the JSON values of a line; free text of old lists counts as none."""
    if "{" in text and not _is_utf8(text):
        raise DataError(f"{where}: its JSON is not UTF-8. Write the list again.")
    try:
        values = DECODER.decode(text) if text else {}
    except json.JSONDecodeError:
        if "{" not in text:
            return {}
        raise DataError(
            f"{where} has a comment that is code, not JSON ('{text[:30]}…'); refused. "
            "Write the list again with a current EMAN2."
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise DataError(f"{where}: its JSON cannot be read: {reason}. Write the list again.") from None
    return values if isinstance(values, dict) else {}


def line_values(table: LstTable, i: int) -> dict[str, Any]:
    """Return the JSON values of particle i of a list that was read; free text of old lists counts as none."""
    return json_of(table.texts[i], f"{table.path}: particle {i + 1}")


def _complete(
    values: list[dict[str, Any]],
    names: tuple[str, ...],
    name_id: np.ndarray,
    index: np.ndarray,
    path: str | os.PathLike,
    datadir: str | os.PathLike | None,
) -> None:
    """Add to each line's values those of its .hdf image header that the line lacks."""
    for i, name in enumerate(names):
        if not hdf.is_hdf(name):
            continue
        rows = np.flatnonzero(name_id == i)
        try:
            found = resolve_path(name, path, datadir)
        except DataError:
            if all(key in values[row] for row in rows for key in ("ctf", "xform.projection")):
                continue  # `assemble` says whether the stack itself is needed
            raise
        for row, header in zip(rows, hdf.read_headers(found, index[rows]), strict=True):
            values[row] = {**header, **values[row]}


def _pixel_size(values: dict[str, Any]) -> float:
    return float(values.get("apix_x") or np.nan)


def _pose(values: list[dict[str, Any]], path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray] | None:
    if not _all_or_none(values, "xform.projection", "pose (xform.projection)", path):
        return None
    matrices = np.array([v["xform.projection"] for v in values], np.float64).reshape(-1, 3, 4)
    return eman.pose_from_transforms(matrices, str(path))


def _ctf(values: list[dict[str, Any]], path: str | os.PathLike) -> CTFParams | None:
    if not _all_or_none(values, "ctf", "CTF", path):
        return None
    beside = {column.field: _beside(values, key, column) for key, column in BESIDE_EMAN2.items()}
    ctf = with_key_aberrations(eman.ctf_from_fields([v["ctf"] for v in values], **beside), values, path)
    exposure = _of_each(values, "hetero_exposure", "exposure (hetero_exposure)", path)
    return ctf if exposure is None else dataclasses.replace(ctf, exposure=exposure.astype(np.float32))


def stated_ctf(table: LstTable, rows: Int[np.ndarray, "chosen"]) -> CTFParams | None:
    """Return the CTF that lines of a list state themselves, whatever has been made of it since; None for none."""
    lines = [check_header(line_values(table, int(row)), f"{table.path}: particle {int(row) + 1}") for row in rows]
    return _ctf(lines, table.path) if all("ctf" in line for line in lines) else None


def _of_each(
    values: list[dict[str, Any]], key: str, what: str, path: str | os.PathLike
) -> Float[np.ndarray, "particles"] | None:
    """Return a number of each particle; None where none has it."""
    return np.array([v[key] for v in values], np.float64) if _all_or_none(values, key, what, path) else None


def _beside(values: list[dict[str, Any]], key: str, column: CTFColumn) -> Float[np.ndarray, "particles"]:
    """Return a parameter that stands beside EMAN2's CTF; a phase shift that nobody states is in its ampcont."""
    absent = np.nan if column.field == "phase_shift" or column.absent is None else column.absent
    return np.array([float(v.get(key, absent)) for v in values])


def _all_or_none(values: list[dict[str, Any]], key: str, what: str, path: str | os.PathLike) -> bool:
    """Return whether the particles have `key`; some with and some without is an error."""
    lacking = [i for i, v in enumerate(values) if key not in v]
    if lacking and len(lacking) < len(values):
        raise DataError(
            f"{path}: particle {lacking[0] + 1} has no {what}, others have; "
            f"remove the {len(lacking)} without or give it to all."
        )
    return bool(values) and not lacking


def _phase_flipped(values: list[dict[str, Any]], path: str | os.PathLike) -> bool:
    flipped = np.array([bool(v.get("ctf_phase_flipped", False)) for v in values], bool)
    if flipped.any() and not flipped.all():
        raise DataError(
            f"{path}: some particles are phase-flipped, others not ({int(flipped.sum())} of {len(flipped)} are; "
            f"ctf_phase_flipped of particle {int(np.argmin(flipped)) + 1} is 0 or absent); use one kind."
        )
    return bool(flipped.any())


def _contrast(values: list[dict[str, Any]], path: str | os.PathLike) -> int:
    """Return `hetero_contrast`, the sign of protein as stored, 0 for unknown: one for all."""
    found = [v.get("hetero_contrast", 0) for v in values]
    other = next((i for i, sign in enumerate(found) if sign != found[0]), None)
    if other is not None:
        raise DataError(
            f"{path}: hetero_contrast is {found[0]} for particle 1, {found[other]} for particle {other + 1} (1 white, "
            "-1 dark, 0 or absent unknown); expected one contrast. Invert one kind and give it the other's, or use one."
        )
    return int(found[0]) if found else 0


def _half_set(values: list[dict[str, Any]], path: str | os.PathLike) -> np.ndarray | None:
    """Return `hetero_half`, else `class` where every class is 0 or 1, as (N,) int."""
    if _all_or_none(values, "hetero_half", "half-set (hetero_half)", path):
        return np.array([v["hetero_half"] for v in values], np.int64)
    found = [v.get("class") for v in values]
    return np.array(found, np.int64) if found and all(value in (0, 1) for value in found) else None


def _group(values: list[dict[str, Any]], path: str | os.PathLike) -> np.ndarray | None:
    """Return the particle that each image shows, from 0 in the order of the list, by `ptcl3d_id`."""
    if not _all_or_none(values, "ptcl3d_id", "tilt series (ptcl3d_id)", path):
        return None
    return unique_names(v["ptcl3d_id"] for v in values)[1]


def _estimates(values: list[dict[str, Any]]) -> ParticleEstimates | None:
    """Return the contrast and the probability of being junk that a run found; None where some lack either."""
    if not values or not all({"hetero_particle_contrast", "hetero_junk"} <= one.keys() for one in values):
        return None
    contrast, junk = (np.array([one[key] for one in values]) for key in ("hetero_particle_contrast", "hetero_junk"))
    return ParticleEstimates(contrast.astype(np.float64), junk.astype(np.float64))


def check_names(path: str | os.PathLike, particles: ParticleSet) -> list[str]:
    """Return the stack names as a list at `path` would hold them.

    Raises
    ------
    NameNotHeld : for a name that no list can hold: with a tab or a line break, white space at an end, or not in UTF-8.
    """
    names = [project_path(file) for file in particles.files]
    for name in names:
        if name != name.strip() or any(letter in name for letter in "\t\r\n") or not _is_utf8(name):
            raise NameNotHeld(
                f"{path}: a .lst cannot hold the stack name {ascii(name)} (a tab, a line break, white space at an end, "
                "or letters that are not UTF-8); rename the stack."
            )
    return names


def write_lst(path: str | os.PathLike, particles: ParticleSet) -> None:
    """Write a project list; JSON keys of a list it was read from are kept.

    Raises
    ------
    NameNotHeld : for a stack name that no list can hold (`check_names`).
    """
    names = check_names(path, particles)
    foreign = next((name for name in names if not name.isascii()), None)
    cut = next((name for name in names if WHITE.search(name)), None)
    if foreign is not None:
        logger.warning(
            "%s: the stack name %s is not ASCII; EMAN2 cannot read this list. Rename the stack to use it there.",
            path,
            foreign,
        )
    elif cut is not None:
        logger.warning(
            "%s: the stack name %s has white space in it, at which parts of EMAN2 end a name. Rename the stack to use "
            "it there.",
            path,
            cut,
        )
    records = []
    for i, values in enumerate(_all_values(particles)):
        records.append(f"{particles.image_index[i]}\t{names[particles.file_id[i]]}\t{text_of(values)}".encode())
    write_records(path, records)


def series_keys(particles: ParticleSet, i: int) -> dict[str, float]:
    """Return tilt and exposure of one image of a tilt series, as far as they are known."""
    exposure = None if particles.ctf is None else particles.ctf.exposure
    stated = {"hetero_tilt": particles.tilt, "hetero_exposure": exposure}
    return {key: float(f"{np.asarray(column)[i]:.{DIGITS}g}") for key, column in stated.items() if column is not None}


def text_of(values: dict[str, Any]) -> str:
    """Return the JSON text of a line."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def write_records(path: str | os.PathLike, records: list[bytes]) -> None:
    """Write lines, each of index, stack and JSON, as a list whose lines have one length."""
    length = max(map(len, records), default=0) + 5
    with replacing(path) as beside, open(beside, "wb") as file:
        file.write(f"#LSX\n{COMMENT}\n# {length}\n".encode())
        for record in records:
            file.write(record.ljust(length - 1) + b"\n")


def record_lines(path: str | os.PathLike) -> Iterator[str]:
    """Yield the lines of particles, each of index, stack and JSON, of a list that `write_lst` wrote."""
    yield from (line.rstrip() for _, line in _lines(path) if line.strip() and not line.startswith("#"))


def _all_values(particles: ParticleSet) -> Iterator[dict[str, Any]]:
    """Yield the JSON values of each particle: those it came with, and our own records over them."""
    pixel_size, ctf = particles.pixel_size, particles.ctf
    pose = particles.pose
    matrices = None if pose is None else eman.matrices_from_pose(pose, pixel_size)
    given = particles.given
    given_matrices = None if given is None else eman.matrices_from_pose(given.pose, pixel_size)
    figures = {} if given is None else {POSE_KEYS[name]: column for name, column in pose_figures(given.change).items()}
    fields = None if ctf is None else eman.fields_from_ctf(ctf, pixel_size)
    headers: list[Any] = [] if ctf is None else _header_ctfs(particles)
    beside = [] if ctf is None else beside_eman2(ctf)
    more = [] if ctf is None else aberration_keys(ctf)
    for i, values in enumerate(_carried(particles)):
        values["apix_x"] = values["apix_y"] = float(f"{pixel_size[i]:.{DIGITS}g}")
        if matrices is not None and not _same_projection(values, matrices[i]):
            values["xform.projection"] = _transform(matrices[i])
        if fields is not None:
            _put_ctf(values, values.get("ctf", headers[i]), fields[i])
            for key in (*BESIDE_EMAN2, *KEYS):
                values.pop(key, None)
            values.update({key: float(f"{number:.{DIGITS}g}") for key, number in beside[i].items()} | more[i])
        if particles.phase_flipped:
            values["ctf_phase_flipped"] = 1
        if particles.contrast:
            values["hetero_contrast"] = particles.contrast
        if particles.half_set is not None:
            values["hetero_half"] = int(particles.half_set[i])
            values.setdefault("class", int(particles.half_set[i]))
        if particles.group is not None:
            values.setdefault("ptcl3d_id", int(particles.group[i]))  # a list that was read keeps its own numbers
            values |= series_keys(particles, i)
        if particles.estimates is not None:
            values["hetero_particle_contrast"] = round(float(particles.estimates.contrast[i]), 4)
            values["hetero_junk"] = round(float(particles.estimates.junk[i]), 4)
        if given_matrices is not None:
            values["hetero_given_projection"] = _transform(given_matrices[i])
            values |= {key: round(float(column[i]), 4) for key, column in figures.items()}
        yield values


def _carried(particles: ParticleSet) -> Iterator[dict[str, Any]]:
    """Yield the JSON that a list held for each particle, or where its row of a table lies and what that names."""
    source = particles.source
    if source is not None and source.format == "lst":
        yield from (dict(line_values(source.data, int(row))) for row in source.rows)
    elif source is not None and not isinstance(source.data, str):
        table, rows = imported_from(source)
        name = project_path(absolute_path(table.path))
        joined = [project_path(absolute_path(path)) for path in getattr(source.data, "joined", ())]
        beside = {"hetero_joined": joined} if joined else {}
        for row, image in zip(rows, image_texts(table, rows), strict=True):
            yield {"hetero_source": name, "hetero_row": int(row), "hetero_image": image, **beside}
    else:
        yield from ({} for _ in range(len(particles)))


def _transform(matrix: np.ndarray) -> dict[str, str]:
    """Return EMAN2's Transform of a 3 × 4 matrix, as its JSON has it."""
    text = "[" + ",".join(f"{number:.{DIGITS}g}" for number in matrix.ravel()) + "]"
    return {"__class__": "Transform", "matrix": text}


def _same_projection(values: dict[str, Any], matrix: np.ndarray) -> bool:
    if "xform.projection" not in values:
        return False
    old = eman.parse_transform(values["xform.projection"], "list")
    return bool(np.all(np.abs(old[:2] - matrix[:2]) < 2e-5 + 1e-5 * np.abs(matrix[:2])))


def _header_ctfs(particles: ParticleSet) -> list[Any]:
    """Return the CTF in the header of each .hdf image, None where there is none."""
    found: list[Any] = [None] * len(particles)
    for i, rows in particles.rows_by_file():
        file = particles.files[i]
        if not hdf.is_hdf(file) or not os.path.exists(file):
            continue
        for row, header in zip(rows, hdf.read_headers(file, particles.image_index[rows], ("ctf",)), strict=True):
            found[row] = header.get("ctf")
    return found


def _put_ctf(values: dict[str, Any], old: Any, new: dict[str, Any]) -> None:
    """Set the CTF of one line unless `old`, which it or its image's header states, is the same."""
    if isinstance(old, str):
        old = eman.parse_ctf_string(old, "header")
    curves = old if isinstance(old, dict) else {}
    keep = bool(curves) and all(
        abs(float(curves.get(name, np.inf)) - new[name]) < 1e-5 + 1e-5 * abs(new[name])
        for name in eman.CTF_NUMBERS
        if name != "apix"
    )
    if not keep:
        kept = {key: curves[key] for key in ("dsbg", "background", "snr") if key in curves}
        values["ctf"] = {"__class__": "EMAN2Ctf", **new, **kept}
