"""EMAN2 list files (.lst): one particle a line, `index<TAB>stack<TAB>json`.

Every line has the same length, stated in the header. Stack names are relative to the project
folder, JSON values override those of the image header, and keys of our own begin with `hetero_`:
half (half-set; other programs overwrite `class`), contrast, source and row (the line of the table
it was imported from, so that export loses no column), and what stands beside EMAN2's CTF (`ctf_columns`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io import eman, hdf
from libhetero.io.ctf_columns import BESIDE_EMAN2, CTFColumn, beside_eman2
from libhetero.io.entries import Entries, unique_names
from libhetero.io.paths import check_readable, project_path, resolve_path
from libhetero.records import CTFParams, ParticleSet, SourceTable

COMMENT = "# Lines after the next one all have the length it states; keep it so when editing."
HEADER_KEYS = (
    "ctf",
    "xform.projection",
    "apix_x",
    "ctf_phase_flipped",
    "ptcl3d_id",
    "hetero_half",
    "hetero_contrast",
    *BESIDE_EMAN2,
)


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
    DataError : for a line that is damaged, or that would run code in EMAN2.
    """
    table, index = _parse(path)
    values = [_used(line_values(table, i)) for i in range(len(index))]
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
    """Return what EMAN2's header values (one dictionary a particle) say of particles."""
    pose = _pose(values, path)
    flipped = {bool(v.get("ctf_phase_flipped", False)) for v in values}
    if len(flipped) > 1:
        raise DataError(f"{path}: some particles are phase-flipped, others not; use one kind.")
    return Entries(
        names=names,
        name_id=name_id,
        image_index=index,
        source=source,
        box_size=np.zeros(len(index), np.int64),
        pixel_size=np.array([_pixel_size(v) for v in values], np.float64),
        rotation=None if pose is None else pose[0],
        shift=None if pose is None else pose[1],
        ctf=_ctf(values, path),
        contrast=_contrast(values),
        phase_flipped=flipped == {True},
        half_set=_half_set(values),
        group=_group(values),
    )


def _parse(path: str | os.PathLike) -> tuple[LstTable, np.ndarray]:
    check_readable(path)
    index, names, texts = [], [], []
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if number == 1 and not line.startswith(("#LSX", "#LST")):
                start = line.rstrip()[:20]
                raise DataError(f"{path}: the first line is '{start}'; expected #LSX (EMAN2 list).")
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.rstrip().split("\t" if "\t" in line else None, 2)
            if len(fields) < 2 or not fields[0].strip().isdigit():
                raise DataError(f"{path}: line {number} is not 'index<TAB>stack<TAB>json'; mend it.")
            text = fields[2].strip() if len(fields) > 2 else ""
            if "__pickle__" in text:
                raise DataError(
                    f"{path}: line {number} holds a __pickle__ entry, which can run any code; refused. "
                    f"Write the list again with JSON values only."
                )
            index.append(int(fields[0]))
            names.append(sys.intern(fields[1].strip()))
            texts.append(text)
    return LstTable(str(path), names, texts), np.array(index, np.int64)


def _used(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a particle set is made of; a million lines would not fit otherwise."""
    return {key: values[key] for key in (*HEADER_KEYS, "class") if key in values}


def _with_shared_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose names are one string each in all lines, not one a line."""
    return {sys.intern(key): value for key, value in pairs}


def line_values(table: LstTable, i: int) -> dict[str, Any]:
    """Return the JSON values of line i; free text of old lists counts as none."""
    text = table.texts[i]
    try:
        values = json.loads(text, object_pairs_hook=_with_shared_names) if text else {}
    except json.JSONDecodeError:
        if "{" not in text:
            return {}
        raise DataError(
            f"{table.path}: particle {i + 1} has a comment that is code, not JSON "
            f"('{text[:30]}…'); refused. Write the list again with a current EMAN2."
        ) from None
    return values if isinstance(values, dict) else {}


def _complete(
    values: list[dict[str, Any]],
    names: tuple[str, ...],
    name_id: np.ndarray,
    index: np.ndarray,
    path: str | os.PathLike,
    datadir: str | os.PathLike | None,
) -> None:
    """Add to each line's values those of its .hdf image header that the line lacks."""
    wanted = ("ctf", "xform.projection", "ctf_phase_flipped")
    for i, name in enumerate(names):
        if not name.endswith(hdf.SUFFIXES):
            continue
        rows = [row for row in np.flatnonzero(name_id == i) if any(key not in values[row] for key in wanted)]
        if not rows:
            continue
        found = resolve_path(name, path, datadir)
        for row, header in zip(rows, hdf.read_headers(found, index[rows], HEADER_KEYS), strict=True):
            values[row] = {**header, **values[row]}


def _pixel_size(values: dict[str, Any]) -> float:
    return float(values.get("apix_x") or np.nan)


def _pose(values: list[dict[str, Any]], path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray] | None:
    if not _all_or_none(values, "xform.projection", "pose (xform.projection)", path):
        return None
    matrices = [eman.parse_transform(v["xform.projection"], f"{path}: particle {i + 1}") for i, v in enumerate(values)]
    return eman.pose_from_transforms(np.stack(matrices), str(path))


def _ctf(values: list[dict[str, Any]], path: str | os.PathLike) -> CTFParams | None:
    if not _all_or_none(values, "ctf", "CTF", path):
        return None
    fields = []
    for i, v in enumerate(values):
        where, ctf = f"{path}: particle {i + 1}", v["ctf"]
        if isinstance(ctf, str):
            ctf = eman.parse_ctf_string(ctf, where)
        missing = [name for name in eman.CTF_NUMBERS if not isinstance(ctf, dict) or name not in ctf]
        if missing:
            raise DataError(f"{where}: the CTF lacks {missing[0]}; fit the CTF again with EMAN2.")
        fields.append(ctf)
    beside = {column.field: _beside(values, key, column) for key, column in BESIDE_EMAN2.items()}
    return eman.ctf_from_fields(fields, **beside)


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


def _half_set(values: list[dict[str, Any]]) -> np.ndarray | None:
    """Return `hetero_half`, else `class` where every class is 0 or 1, as (N,) int."""
    for key in ("hetero_half", "class"):
        found = [v.get(key) for v in values]
        if found and all(value in (0, 1) for value in found):
            return np.array(found, np.int64)
    return None


def _contrast(values: list[dict[str, Any]]) -> int:
    found = {v.get("hetero_contrast", 0) for v in values}
    return int(found.pop()) if len(found) == 1 and found <= {-1, 0, 1} else 0


def _group(values: list[dict[str, Any]]) -> np.ndarray | None:
    found = [v.get("ptcl3d_id") for v in values]
    return np.array(found, np.int64) if found and None not in found else None


def write_lst(path: str | os.PathLike, particles: ParticleSet) -> None:
    """Write a project list; JSON keys of a list it was read from are kept.

    Raises
    ------
    DataError : for a stack name that is not ASCII.
    """
    names = [project_path(file) for file in particles.files]
    for name in names:
        if not name.isascii() or "\t" in name:
            raise DataError(f"{path}: stack name {name!r} is not plain ASCII; rename it for EMAN2.")
    records = []
    for i, values in enumerate(_all_values(particles)):
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        records.append(f"{particles.image_index[i]}\t{names[particles.file_id[i]]}\t{text}")
    length = max(map(len, records), default=0) + 5
    with replacing(path) as beside, open(beside, "w", newline="\n", encoding="ascii") as file:
        file.write(f"#LSX\n{COMMENT}\n# {length}\n")
        for record in records:
            file.write(record.ljust(length - 1) + "\n")


def _all_values(particles: ParticleSet) -> Iterator[dict[str, Any]]:
    """Yield the JSON values of each particle: those it came with, and our own records over them."""
    pixel_size, ctf = particles.pixel_size, particles.ctf
    pose = particles.pose
    matrices = None if pose is None else eman.matrices_from_pose(pose, pixel_size)
    fields = None if ctf is None else eman.fields_from_ctf(ctf, pixel_size)
    headers: list[Any] = [] if ctf is None else _header_ctfs(particles)
    beside = [] if ctf is None else beside_eman2(ctf)
    for i, values in enumerate(_carried(particles)):
        values["apix_x"] = values["apix_y"] = float(f"{pixel_size[i]:.7g}")
        if matrices is not None and not _same_projection(values, matrices[i]):
            text = "[" + ",".join(f"{number:.9g}" for number in matrices[i].ravel()) + "]"
            values["xform.projection"] = {"__class__": "Transform", "matrix": text}
        if fields is not None:
            _put_ctf(values, values.get("ctf", headers[i]), fields[i])
            for key in BESIDE_EMAN2:
                values.pop(key, None)
            values.update({key: float(f"{number:.7g}") for key, number in beside[i].items()})
        if particles.phase_flipped:
            values["ctf_phase_flipped"] = 1
        if particles.contrast:
            values["hetero_contrast"] = particles.contrast
        if particles.half_set is not None:
            values["hetero_half"] = int(particles.half_set[i])
            values.setdefault("class", int(particles.half_set[i]))
        if particles.group is not None:
            values["ptcl3d_id"] = int(particles.group[i])
        yield values


def _carried(particles: ParticleSet) -> Iterator[dict[str, Any]]:
    """Yield the JSON that a list held for each particle, or where its row of a table lies."""
    source = particles.source
    if source is not None and source.format == "lst":
        yield from (dict(line_values(source.data, int(row))) for row in source.rows)
    elif source is not None and not isinstance(source.data, str):
        name = project_path(os.path.abspath(source.data.path))
        joined = [project_path(os.path.abspath(path)) for path in getattr(source.data, "joined", ())]
        beside = {"hetero_joined": joined} if joined else {}
        yield from ({"hetero_source": name, "hetero_row": int(row), **beside} for row in source.rows)
    else:
        yield from ({} for _ in range(len(particles)))


def _same_projection(values: dict[str, Any], matrix: np.ndarray) -> bool:
    if "xform.projection" not in values:
        return False
    old = eman.parse_transform(values["xform.projection"], "list")
    return bool(np.all(np.abs(old[:2] - matrix[:2]) < 2e-5 + 1e-5 * np.abs(matrix[:2])))


def _header_ctfs(particles: ParticleSet) -> list[Any]:
    """Return the CTF string in the header of each .hdf image, None where there is none."""
    found: list[Any] = [None] * len(particles)
    for i, rows in particles.rows_by_file():
        file = particles.files[i]
        if not file.endswith(hdf.SUFFIXES) or not os.path.exists(file):
            continue
        headers = hdf.read_headers(file, particles.image_index[rows], ("ctf",))
        for row, header in zip(rows, headers, strict=True):
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
