"""RELION .star particle lists: 3.0 (one block), 3.1 and 5 (optics groups), read by starfile.

    R = Rz(psi) Ry(tilt) Rz(rot)     t = -rlnOriginAngst  (or -rlnOrigin · pixel size)

Every value is kept as the text it was, and only columns whose meaning changed are written anew.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pandas as pd
import starfile
from jaxtyping import Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.io.aberrations import with_star_aberrations
from libhetero.io.ctf_columns import CTF_COLUMNS, ctf_of_columns, lacking
from libhetero.io.entries import Entries, unique_names
from libhetero.io.euler import matrix_from_euler
from libhetero.io.paths import check_readable
from libhetero.records import CTFParams, SourceTable

logger = logging.getLogger(__name__)

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")

Rows = Int[np.ndarray, "chosen"] | slice


@dataclass(frozen=True, eq=False)
class StarTable:
    """A star file whole, every value as text.

    Parameters
    ----------
    path : the file.
    blocks : block name to table (or dictionary), in the file's order.
    name : the block that lists the particles.
    """

    path: str
    blocks: dict[str, Any]
    name: str

    @property
    def particles(self) -> pd.DataFrame:
        """The table of particles."""
        return self.blocks[self.name]

    def column(self, label: str, rows: Rows = slice(None)) -> Shaped[np.ndarray, "values"] | None:
        """Return text values of a label for some particles, from their own table or their optics
        group; None when neither has it."""
        if label in self.particles:
            return self.particles[label].to_numpy(object)[rows]
        optics = self.blocks.get("optics")
        if not isinstance(optics, pd.DataFrame) or label not in optics:
            return None
        return optics[label].to_numpy(object)[self.optics_row()[rows]]

    def optics_row(self) -> Int[np.ndarray, "particles"]:
        """Return the row of the optics table for each particle."""
        optics, count = self.blocks["optics"], len(self.particles)
        if "rlnOpticsGroup" not in self.particles or "rlnOpticsGroup" not in optics:
            if len(optics) != 1:
                raise DataError(
                    f"{self.path}: {len(optics)} optics groups, but the particles do not say which "
                    f"(no rlnOpticsGroup); write the file again with RELION."
                )
            return np.zeros(count, np.int64)
        rows = {group: row for row, group in enumerate(optics["rlnOpticsGroup"])}
        groups = self.particles["rlnOpticsGroup"]
        unknown = [group for group in groups.unique() if group not in rows]
        if unknown:
            raise DataError(
                f"{self.path}: optics group {unknown[0]} is not in data_optics (it has "
                f"{', '.join(map(str, rows))}); write the file again with RELION."
            )
        return groups.map(rows).to_numpy(np.int64)

    @overload
    def number(self, label: str, rows: Rows = ..., *, missing: float) -> Float[np.ndarray, "values"]: ...

    @overload
    def number(
        self, label: str, rows: Rows = ..., missing: float | None = None
    ) -> Float[np.ndarray, "values"] | None: ...

    def number(
        self, label: str, rows: Rows = slice(None), missing: float | None = None
    ) -> Float[np.ndarray, "values"] | None:
        """Return a label as float64; `missing` also fills values that are no number.

        None when the label is absent and `missing` is None.
        """
        text = self.column(label, rows)
        if text is None:
            count = len(np.arange(len(self.particles))[rows])
            return None if missing is None else np.full(count, missing)
        values = pd.to_numeric(pd.Series(text, dtype=object), errors="coerce").to_numpy(np.float64)
        return values if missing is None else np.where(np.isfinite(values), values, missing)


def read_table(path: str | os.PathLike) -> StarTable:
    """Read a star file and find its particles.

    Raises
    ------
    DataError : if it cannot be parsed, or not exactly one block lists images.
    """
    check_readable(path)
    blocks = _read_blocks(path)
    names = [name for name, block in blocks.items() if isinstance(block, pd.DataFrame) and "rlnImageName" in block]
    if "particles" in names:
        names = ["particles"]
    if len(names) != 1:
        found = ", ".join(f"data_{name}" for name in blocks) or "none"
        raise DataError(
            f"{path}: {len(names)} blocks list particles (rlnImageName); expected one among: "
            f"{found}. Give a particle .star."
        )
    return StarTable(str(path), blocks, names[0])


def _read_blocks(path: str | os.PathLike) -> dict[str, Any]:
    with open(path, encoding="utf-8", errors="replace") as file:
        labels = sorted(set(re.findall(r"^\s*_(\S+)", file.read(), re.MULTILINE)))
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=labels)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path}: not a well-formed star file ({reason}); mend or export it.") from None
    return {name: block for name, block in blocks.items() if block is not None}


def read_star(path: str | os.PathLike) -> Entries:
    """Read a particle list.

    A missing (or empty) rlnPhaseShift, rlnCtfBfactor, rlnCtfScalefactor means 0, 0, 1.
    """
    table = read_table(path)
    count = len(table.particles)
    names, name_id, index = _images(table)
    rows = np.arange(count)
    shift, unit = read_shift(table, rows)
    flipped = table.number("rlnCtfDataArePhaseFlipped", missing=0.0)
    if np.any(table.number("rlnCtfDataAreCtfPremultiplied", missing=0.0) != 0):
        logger.warning("%s: images are premultiplied by their CTF; extract them without.", path)
    half = table.number("rlnRandomSubset")
    return Entries(
        names=names,
        name_id=name_id,
        image_index=index,
        source=SourceTable("star", table, rows),
        box_size=table.number("rlnImageSize", missing=0.0).astype(np.int64),
        pixel_size=read_pixel_size(table, rows),
        rotation=read_rotation(table, rows),
        shift=shift,
        shift_unit=unit,
        ctf=read_ctf(table, rows),
        phase_flipped=bool(count and np.all(flipped != 0)),
        half_set=None if half is None or not np.isin(half, (1, 2)).all() else half.astype(int) - 1,
        group=_group(table),
    )


def _images(table: StarTable) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Split `000001@stack` into names and 0-based indices; a bare name is image 1 of its file."""
    text = [str(value) for value in table.particles["rlnImageName"]]
    parts = [value.rpartition("@") for value in text]
    try:
        index = np.array([int(part[0]) if part[1] else 1 for part in parts], np.int64) - 1
    except ValueError:
        bad = next(v for v, p in zip(text, parts, strict=True) if p[1] and not p[0].isdigit())
        raise DataError(f"{table.path}: image name '{bad}' is not number@stack; mend it.") from None
    if len(index) and index.min() < 0:
        row = int(np.argmin(index))
        raise DataError(f"{table.path}: image name '{text[row]}': numbers start at 1 in a .star.")
    names, name_id = unique_names([part[2] for part in parts])
    return names, name_id, index


def read_pixel_size(table: StarTable, rows: Int[np.ndarray, "particles"]) -> Float[np.ndarray, "particles"]:
    """Return Å per pixel, NaN where the table does not say."""
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        found = table.number(label, rows)
        if found is not None:
            return found
    detector = table.number("rlnDetectorPixelSize", rows)
    magnification = table.number("rlnMagnification", rows)
    if detector is None or magnification is None:
        return np.full(len(rows), np.nan)
    return 1e4 * detector / np.where(magnification > 0, magnification, np.nan)


def read_rotation(table: StarTable, rows: Int[np.ndarray, "particles"]) -> Float[np.ndarray, "particles 3 3"] | None:
    """Return R, or None when the table has no angles."""
    rot, tilt, psi = (table.number(label, rows) for label in ANGLES)
    if rot is None or tilt is None or psi is None:
        return None
    return matrix_from_euler(rot, tilt, psi)


def read_shift(
    table: StarTable, rows: Int[np.ndarray, "particles"]
) -> tuple[Float[np.ndarray, "particles 2"] | None, str]:
    """Return t and its unit, "angstrom" or "pixel"."""
    for unit, suffix in (("angstrom", "Angst"), ("pixel", "")):
        x, y = (table.number(f"rlnOrigin{axis}{suffix}", rows) for axis in "XY")
        if x is not None and y is not None:
            return -np.stack([x, y], axis=1), unit
    return None, "pixel"


def read_ctf(table: StarTable, rows: Int[np.ndarray, "particles"]) -> CTFParams | None:
    """Return the CTF, or None when the table has none or only part of one."""
    values = {column.field: table.number(column.star, rows, column.absent) for column in CTF_COLUMNS}
    if values["defocus_u"] is None:
        return None
    if values["defocus_v"] is None:
        values["defocus_v"] = values["defocus_u"]
    values["defocus_angle"] = table.number("rlnDefocusAngle", rows, missing=0.0)
    values["b_factor"] = np.abs(
        table.number("rlnCtfBfactor", rows, missing=0.0)
    )  # Warp and M write -4 · dose for a tilt; no envelope ever grows
    without = lacking(values)
    if without:
        logger.warning("%s: defocus without %s: the CTF is left out.", table.path, without[0].star)
        return None
    return with_star_aberrations(ctf_of_columns(values, degrees=True), table, rows)


def _group(table: StarTable) -> Int[np.ndarray, "particles"] | None:
    """Return the tilt series of each image, by its particle's name; None for single ones.

    Warp and M name it rlnGroupName and give each tilt its own rlnCtfBfactor; in single-particle
    files that label is a group of micrographs.
    """
    named = [name for name in ("rlnTomoParticleName", "rlnTomoParticleId") if name in table.particles]
    label = named[0] if named else None
    tilts = np.any(table.number("rlnCtfBfactor", missing=0.0) < 0)
    if label is None and "rlnGroupName" in table.particles and tilts:
        label = "rlnGroupName"
    return None if label is None else unique_names(table.particles[label])[1]
