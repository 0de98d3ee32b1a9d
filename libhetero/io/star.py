"""RELION .star particle lists: 3.0 (one block), 3.1 and 5 (optics groups), read by RELION's rules.

    R = Rz(psi) Ry(tilt) Rz(rot)     t = -rlnOriginAngst  (or -rlnOrigin · pixel size)

Every value is kept as the text it was, and only columns whose meaning changed are written anew. Only a column
that is absent means its default: text, nan or an infinite number in one that is there is an error.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.io.aberrations import told_of_relion, with_star_aberrations
from libhetero.io.ctf_columns import CTF_COLUMNS, ctf_of_columns, lacking
from libhetero.io.entries import Entries, unique_names
from libhetero.io.euler import matrix_from_euler
from libhetero.io.exposures import exposure_of_image
from libhetero.io.star_text import read_star_file
from libhetero.records import CTFParams, SourceTable

logger = logging.getLogger(__name__)

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
PRE_EXPOSURE = "rlnMicrographPreExposure"  # e⁻/Å² before an image
EXPOSURE = "libheteroExposure"  # e⁻/Å² up to its middle, where the images of a list do not tell what one adds
LONGEST = 400  # digits of a number before or after its point: more than any float64 has
NUMBER = rf"[+-]?(?:[0-9]{{1,{LONGEST}}}(?:\.[0-9]{{0,{LONGEST}}})?|\.[0-9]{{1,{LONGEST}}})(?:[eE][+-]?[0-9]{{1,4}})?"
NUMBERS = re.compile(rf"(?:(?>{NUMBER})\n)*+")
WHOLE = re.compile(r"([0-9]{1,18})(?:\.0*)?")
TYPE_SUFFIX = re.compile(r":(?:mrcs?|st|ali|rec|map|hed|img|spi|tiff?|eer|em)$")  # says how RELION is to read a file

Rows = Int[np.ndarray, "chosen"] | slice


@dataclass(frozen=True, eq=False)
class StarTable:
    """A star file whole, every value as text.

    Parameters
    ----------
    path : the file.
    blocks : block name to table (or dictionary), in the file's order.
    name : the block that lists the particles.
    versions : what `# version N` before a block says, by its name.
    copied : where the images named are copies: the table as it lies on disk, and the row there of each row here.
    """

    path: str
    blocks: dict[str, Any]
    name: str
    versions: dict[str, str] = field(default_factory=dict)
    copied: tuple[StarTable, Int[np.ndarray, "rows"]] | None = None

    @property
    def particles(self) -> pd.DataFrame:
        """The table of particles."""
        return self.blocks[self.name]

    @property
    def optics(self) -> pd.DataFrame | None:
        """The table of optics groups; None in a list of RELION 3.0."""
        found = self.blocks.get("optics")
        return found if isinstance(found, pd.DataFrame) and self.name != "optics" else None

    def column(self, label: str, rows: Rows = slice(None)) -> Shaped[np.ndarray, "values"] | None:
        """Return text values of a label for some particles, from their optics group, as RELION does, or from
        their own table; None when neither has it."""
        if self.optics is not None and label in self.optics:
            return self.optics[label].to_numpy(object)[self.optics_row()[rows]]
        if label in self.particles:
            return self.particles[label].to_numpy(object)[rows]
        return None

    def optics_row(self) -> Int[np.ndarray, "particles"]:
        """Return the row of the optics table, where there is one, for each particle."""
        return self._optics_row

    @cached_property
    def _optics_row(self) -> np.ndarray:
        optics, count = self.blocks["optics"], len(self.particles)
        if "rlnOpticsGroup" not in self.particles or "rlnOpticsGroup" not in optics:
            if len(optics) != 1:
                raise DataError(
                    f"{self.path}: {len(optics)} optics groups, but the particles do not say which "
                    f"(no rlnOpticsGroup); write the file again with RELION."
                )
            return np.zeros(count, np.int64)
        rows: dict[str, int] = {}
        for row, group in enumerate(map(_group_key, optics["rlnOpticsGroup"])):
            first = rows.setdefault(group, row)
            if not optics.iloc[first].equals(optics.iloc[row]):
                raise DataError(
                    f"{self.path}: rows {first + 1} and {row + 1} of data_optics are both of optics group {group[:40]} "
                    f"and differ; expected one row a group. Remove one, or give it a number of its own."
                )
        number, names = pd.factorize(self.particles["rlnOpticsGroup"])
        place = np.array([rows.get(_group_key(name), -1) for name in names], np.int64)
        if np.any(place < 0):
            raise DataError(
                f"{self.path}: optics group {names[int(np.argmin(place))][:40]} is not in data_optics (it has "
                f"{', '.join(rows)[:100]}); write the file again with RELION."
            )
        return place[number]

    @overload
    def number(self, label: str, rows: Rows = ..., *, missing: float) -> Float[np.ndarray, "values"]: ...

    @overload
    def number(
        self, label: str, rows: Rows = ..., missing: float | None = None
    ) -> Float[np.ndarray, "values"] | None: ...

    def number(
        self, label: str, rows: Rows = slice(None), missing: float | None = None
    ) -> Float[np.ndarray, "values"] | None:
        """Return a label as float64; `missing` where the file has no such column, None when that is None.

        Raises
        ------
        DataError : for a value that is not a finite number, naming the particle and the label.
        """
        text = self.column(label, rows)
        if text is None:
            count = len(np.arange(len(self.particles))[rows])
            return None if missing is None else np.full(count, missing)
        joined = "\n".join(text) + "\n"
        if len(text) and not NUMBERS.fullmatch(joined):
            wrong = next(row for row, value in enumerate(text) if not re.fullmatch(NUMBER, value))
            raise self._no_number(label, rows, wrong, text[wrong])
        values = text.astype(np.float64)
        if not np.isfinite(values).all():
            wrong = int(np.argmin(np.isfinite(values)))
            raise self._no_number(label, rows, wrong, text[wrong])
        return values

    def whole(self, label: str, rows: Rows = slice(None), *, missing: int) -> Int[np.ndarray, "values"]:
        """Return a label as whole numbers; `missing` where the file has no such column.

        Raises
        ------
        DataError : for a value that is not a whole number.
        """
        values = self.number(label, rows, missing=float(missing))
        wrong = (values != np.rint(values)) | (np.abs(values) > 2**53)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self.wrong_value(label, rows, row, f"{values[row]:g}", "a whole number")
        return values.astype(np.int64)

    def wrong_value(self, label: str, rows: Rows, place: int, found: str, expected: str) -> DataError:
        """Return the error for one value; `place` counts among the chosen rows."""
        row = int(np.arange(len(self.particles))[rows][place])
        return DataError(
            f"{self.path}: particle {row + 1}: {label} is {found}; expected {expected}. "
            f"Mend the list, or remove the column or the particle."
        )

    def _no_number(self, label: str, rows: Rows, place: int, text: str) -> DataError:
        expected = "a finite number" if len(text) <= LONGEST else f"a finite number of at most {LONGEST} digits"
        return self.wrong_value(label, rows, place, f"'{text[:30]}'", expected)


BY_TILT = "give a list of its particles that has a row for each tilt image (000001@stack.mrcs), as Warp and M export."
KINDS = {  # by a label of it: a file of RELION's that lists no particles, and what to give in its place
    "rlnReferenceImage": "This is the model of a refinement (_model.star): give its particles, _data.star.",
    "rlnOptimiserDataStarFile": "This is the record of a refinement (_optimiser.star): give its particles, _data.star.",
    "rlnTomoTiltSeriesStarFile": f"This is a list of tilt series: {BY_TILT}",
    "rlnTomoTiltSeriesName": f"This is a list of tomograms: {BY_TILT}",
    "rlnTomoParticlesFile": f"This is an optimisation set: {BY_TILT}",
    "rlnTomoNominalStageTiltAngle": f"This is a tilt series: {BY_TILT}",
    "rlnCoordinateX": "These are coordinates: extract their particles, and give the particles.star of that job.",
    "rlnMicrographName": "This is a list of micrographs: give that of the particles extracted from them.",
}


def _group_key(text: str) -> str:
    """Return the number of an optics group without leading zeros or a fraction of 0; other text as it is."""
    whole = WHOLE.fullmatch(text)
    return str(int(whole[1])) if whole else text


def read_table(path: str | os.PathLike) -> StarTable:
    """Read a star file and find its particles.

    Raises
    ------
    DataError : if it is not well-formed, or not exactly one block lists images.
    """
    file = read_star_file(path)
    blocks = file.blocks
    names = [name for name, block in blocks.items() if isinstance(block, pd.DataFrame) and "rlnImageName" in block]
    if len(names) != 1:
        found = ", ".join(f"data_{name}" for name in blocks)[:200] or "none"
        raise DataError(
            f"{path}: {len(names) or 'no'} blocks list particles (rlnImageName), expected one; it has {found}. "
            f"{_instead(blocks) if not names else 'Give a .star with one of them.'}"
        )
    return StarTable(str(path), blocks, names[0], file.versions)


def _instead(blocks: Mapping[str, Any]) -> str:
    """Return what a file without particles is, where its labels tell, and what to give in its place."""
    labels = {label for block in blocks.values() for label in (block if hasattr(block, "__iter__") else ())}
    return next((text for label, text in KINDS.items() if label in labels), "Give a particle .star.")


def with_images(table: StarTable, rows: Int[np.ndarray, "chosen"], names: list[str]) -> StarTable:
    """Return a table of the chosen rows alone, with the names of copies of their images."""
    frame = table.particles.iloc[rows].reset_index(drop=True)
    frame["rlnImageName"] = pd.Series(names, dtype=object)
    return StarTable(table.path, {**table.blocks, table.name: frame}, table.name, table.versions, (table, rows))


def read_star(path: str | os.PathLike) -> Entries:
    """Read a particle list.

    An absent rlnPhaseShift, rlnCtfBfactor, rlnCtfScalefactor means 0, 0, 1.

    Raises
    ------
    DataError : naming what is wrong, or a list of something else than images of particles.
    """
    table = read_table(path)
    rows = np.arange(len(table.particles))
    if table.optics is not None:
        table.optics_row()  # refuses groups that are not known or stated twice, whether or not they are asked
        _warn_of_two_values(table)
    images = image_names(table)
    _refuse_volumes(table, images.numbered)
    shift, unit = read_shift(table, rows)
    if _all_or_none(table, "rlnCtfDataAreCtfPremultiplied", "multiplied by their CTF"):
        logger.warning(
            "%s: rlnCtfDataAreCtfPremultiplied: images are premultiplied by their CTF; extract them without.", path
        )
    told_of_relion(table)
    ctf, group = read_ctf(table, rows), _group(table)
    if group is not None and ctf is not None:
        ctf = dataclasses.replace(ctf, exposure=read_exposure(table))
    return Entries(
        names=images.names,
        name_id=images.name_id,
        image_index=images.index,
        source=SourceTable("star", table, rows),
        box_size=_box_size(table),
        pixel_size=read_pixel_size(table, rows),
        rotation=read_rotation(table, rows),
        shift=shift,
        shift_unit=unit,
        ctf=ctf,
        phase_flipped=_all_or_none(table, "rlnCtfDataArePhaseFlipped", "phase-flipped"),
        half_set=_half_set(table),
        group=group,
        tilt=None if group is None else _tilt(table),
        numbered=images.numbered,
    )


@dataclass(frozen=True, eq=False)
class ImageNames:
    """The images that a table names.

    Parameters
    ----------
    names : stacks as written, each once.
    name_id : index into `names`.
    index : 0-based place in the stack.
    numbered : whether the name says which image; a bare one is image 1 of a file that holds no other.
    """

    names: tuple[str, ...]
    name_id: Int[np.ndarray, "particles"]
    index: Int[np.ndarray, "particles"]
    numbered: Bool[np.ndarray, "particles"]


def image_names(table: StarTable) -> ImageNames:
    """Split `000001@stack` at the first @, as RELION does; the rest may hold more of them.

    Raises
    ------
    DataError : for a name that is neither number@stack nor stack.
    """
    text = table.particles["rlnImageName"].tolist()
    parts = [value.partition("@") for value in text]
    numbered = np.array([bool(at) for _, at, _ in parts], bool)
    for row, (number, at, name) in enumerate(parts):
        if at and not (number.isascii() and number.isdigit() and len(number) < 19 and name):
            raise DataError(
                f"{table.path}: particle {row + 1}: image name '{text[row][:60]}' is not number@stack; mend it."
            )
        if not at and not number:
            raise DataError(f"{table.path}: particle {row + 1} has no image name (rlnImageName); mend it.")
    index = np.array([int(number) if at else 1 for number, at, _ in parts], np.int64) - 1
    if len(index) and index.min() < 0:
        row = int(np.argmin(index))
        raise DataError(f"{table.path}: image name '{text[row]}': numbers start at 1 in a .star.")
    names, name_id = unique_names([without_type(name if at else number) for number, at, name in parts])
    return ImageNames(names, name_id, index, numbered)


def without_type(name: str) -> str:
    """Return a name without RELION's `:mrcs`, which says how to read a file of another suffix."""
    return TYPE_SUFFIX.sub("", name)


def _refuse_volumes(table: StarTable, numbered: Bool[np.ndarray, "particles"]) -> None:
    """Refuse lists of subtomograms: volumes, or stacks of all tilts that are named without a number."""
    dimensions = table.whole("rlnImageDimensionality", missing=0)
    volumes = dimensions == 3
    if volumes.any():
        raise DataError(
            f"{table.path}: particle {int(np.argmax(volumes)) + 1} is 3-dimensional (rlnImageDimensionality): a "
            "subtomogram; expected 2-D images, a row for each tilt (000001@stack.mrcs). Export them as series of 2-D "
            "images, as Warp and M do."
        )
    other = (dimensions != 0) & (dimensions != 2)  # 0 is not said
    if other.any():
        row = int(np.argmax(other))
        raise table.wrong_value("rlnImageDimensionality", slice(None), row, str(dimensions[row]), "2, for 2-D images")
    general = table.blocks.get("general")
    flag = general.get("rlnTomoSubTomosAre2DStacks", "0") if isinstance(general, dict) else "0"
    if flag.strip() not in ("0", "") and not numbered.all():
        row = int(np.argmin(numbered))
        raise DataError(
            f"{table.path}: particle {row + 1} names a stack of all its tilts (rlnTomoSubTomosAre2DStacks) and no "
            f"image in it; expected one row a tilt, as 000001@{table.particles['rlnImageName'].iloc[row][:60]}, with a "
            "pose and a CTF of its own. Export a particle series, as Warp and M do."
        )


def _warn_of_two_values(table: StarTable) -> None:
    """Say which labels stand in both tables with different values: RELION reads the optics group's."""
    optics = table.blocks["optics"]
    for label in optics.columns.intersection(table.particles.columns).drop("rlnOpticsGroup", errors="ignore"):
        used, other = (
            pd.Series(v, dtype=object) for v in (table.column(label), table.particles[label].to_numpy(object))
        )
        differ = used != other
        numbers = [pd.to_numeric(values[differ], errors="coerce") for values in (used, other)]
        if not np.allclose(numbers[0], numbers[1], rtol=1e-6, atol=1e-6):
            logger.warning(
                "%s: %s differs between data_optics, which is used as in RELION, and data_%s.",
                table.path,
                label,
                table.name,
            )


def _all_or_none(table: StarTable, label: str, what: str) -> bool:
    """Return whether images are something, which must be so for all of them or for none."""
    found = table.number(label, missing=0.0) != 0
    if len(found) and found.any() != found.all():
        row = int(np.argmax(found != found[0]))
        raise DataError(
            f"{table.path}: some images are {what}, others not ({label}; particles 1 and {row + 1} differ); "
            f"expected one kind. Give a list of each by itself."
        )
    return bool(len(found) and found.all())


def _box_size(table: StarTable) -> Int[np.ndarray, "particles"]:
    """Return the box in pixels, 0 where the table does not say."""
    box = table.whole("rlnImageSize", missing=0)
    if np.any((box < 0) | (box > 2**20)):
        row = int(np.argmax((box < 0) | (box > 2**20)))
        raise table.wrong_value("rlnImageSize", slice(None), row, str(box[row]), "a box in pixels")
    return box


def _half_set(table: StarTable) -> Int[np.ndarray, "particles"] | None:
    """Return the half-set, 0 or 1; None where there is none: no column, or 0 for every particle."""
    if table.column("rlnRandomSubset") is None:
        return None
    half = table.whole("rlnRandomSubset", missing=0)
    if not half.any():
        return None
    if not np.isin(half, (1, 2)).all():
        row = int(np.argmin(np.isin(half, (1, 2))))
        raise table.wrong_value("rlnRandomSubset", slice(None), row, str(half[row]), "1 or 2")
    return half - 1


def read_pixel_size(table: StarTable, rows: Int[np.ndarray, "particles"]) -> Float[np.ndarray, "particles"]:
    """Return Å per pixel, NaN where the table does not say: no column, or 0."""
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        found = table.number(label, rows)
        if found is not None:
            return _positive(table, label, rows, found)
    detector = table.number("rlnDetectorPixelSize", rows)
    magnification = table.number("rlnMagnification", rows)
    if detector is None or magnification is None:
        return np.full(len(rows), np.nan)
    detector = _positive(table, "rlnDetectorPixelSize", rows, detector)
    return 1e4 * detector / _positive(table, "rlnMagnification", rows, magnification)


def _positive(table: StarTable, label: str, rows: Rows, values: np.ndarray) -> Float[np.ndarray, "particles"]:
    """Return the values with NaN for 0; one below is an error."""
    if np.any(values < 0):
        row = int(np.argmax(values < 0))
        raise table.wrong_value(label, rows, row, f"{values[row]:g}", "a positive number")
    return np.where(values > 0, values, np.nan)


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
        labels = [f"rlnOrigin{axis}{suffix}" for axis in "XY"]
        if any(table.column(label) is not None for label in labels):
            return -np.stack([table.number(label, rows, missing=0.0) for label in labels], axis=1), unit
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


def series_label(table: StarTable) -> str | None:
    """Return the label that names the particle of each tilt image; None in a list of single images.

    Warp and M name it rlnGroupName, nextPYP numbers it rlnGroupNumber, and both give each tilt its own rlnCtfBfactor,
    none above 0; in single-particle files these labels are groups of micrographs, and B-factors above 0 tell such a
    file.
    """
    for label in ("rlnTomoParticleName", "rlnTomoParticleId"):
        if label in table.particles:
            return label
    b_factor = table.number("rlnCtfBfactor", missing=0.0)
    if not (np.any(b_factor < 0) and np.all(b_factor <= 0)):
        return None
    if "rlnGroupName" in table.particles:
        return "rlnGroupName"
    return "rlnGroupNumber" if {"rlnGroupNumber", "rlnTiltIndex"} <= set(table.particles) else None


def _group(table: StarTable) -> Int[np.ndarray, "particles"] | None:
    """Return the particle that each tilt image shows, from 0 in the order of the list; None for single images."""
    label = series_label(table)
    return None if label is None else unique_names(table.particles[label])[1]


def _tilt(table: StarTable) -> Float[np.ndarray, "particles"] | None:
    """Return the tilt of the stage in degrees; without a sign by the scale factor of the CTF, where that is cos tilt.

    Warp and M write it so: none above 1 or of 0, and not all 1.
    """
    stated = table.number("rlnTomoNominalStageTiltAngle")
    if stated is not None:
        return stated
    scale = table.number("rlnCtfScalefactor")
    if scale is None or not np.all((scale > 0) & (scale <= 1)) or np.all(scale == 1):
        return None
    return np.degrees(np.arccos(scale))


def read_exposure(table: StarTable) -> Float[np.ndarray, "particles"] | None:
    """Return what a particle had received up to the middle of each of its tilt images, e⁻/Å²; None where the list does
    not say, or is one of single images.

    RELION's column leaves out what the image itself adds, which only the other images of the list tell; lists of some
    images that were written here state the exposure itself.
    """
    group = _group(table)
    if group is None:
        return None
    for label in (EXPOSURE, PRE_EXPOSURE):
        found = table.number(label)
        if found is not None and np.any(found < 0):
            row = int(np.argmax(found < 0))
            raise table.wrong_value(label, slice(None), row, f"{found[row]:g}", "0 or more")
        if found is not None and np.any(found):
            own = 0.0 if label == EXPOSURE else exposure_of_image(found, group) / 2
            return (found + own).astype(np.float32)
    return None
