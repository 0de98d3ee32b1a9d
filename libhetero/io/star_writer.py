"""Writing RELION .star lists (3.1 layout), or giving a file that was read its columns back."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
import pandas as pd
import starfile
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io import star
from libhetero.io.check import pixel_size_disagreements
from libhetero.io.ctf_columns import CTF_COLUMNS, OF_GROUP
from libhetero.io.euler import euler_from_matrix
from libhetero.io.images import open_stack
from libhetero.io.optics import optics_groups
from libhetero.io.origin import original_table
from libhetero.io.paths import project_path, resolve_path
from libhetero.io.pixel_size import SAME, renewed_pixel_size
from libhetero.io.star import StarTable
from libhetero.records import CTFParams, ParticleSet, Pose

logger = logging.getLogger(__name__)

VERSION = "# version 30001"
PIXEL_LABELS = {"rlnImagePixelSize": 1, "rlnPixelSize": 1, "rlnMagnification": -1}


def write_star(
    path: str | os.PathLike, particles: ParticleSet, optics: Float[np.ndarray, "groups values"] | None = None
) -> None:
    """Write a particle list.

    A set that was read from a .star (or imported from one into a .lst) gets that table back, every
    column and the original images, with poses, CTF and half-sets renewed where they changed.

    Parameters
    ----------
    path : of the list.
    particles : the set.
    optics : the values of `optics_groups` for the whole list, when these are a part of its particles and
        no table's; None for their own.
    """
    found = original_table(particles, "star", star.read_table)
    blocks = _fresh(particles, optics) if found is None else _updated(*found, particles)
    body = starfile.to_string(blocks, na_rep="nan").split("\n", 1)[1]
    with replacing(path) as beside:
        beside.write_text(f"{VERSION}\n{body}", encoding="utf-8")


def _updated(table: StarTable, rows: np.ndarray, particles: ParticleSet) -> dict[str, Any]:
    """Return the blocks of a table with the rows of the set, renewed where the set differs."""
    frame = table.particles.iloc[rows].reset_index(drop=True)
    frame["rlnImageName"] = _image_names(table, frame["rlnImageName"], particles)
    blocks = {**table.blocks, table.name: frame}
    pixel, written = _put_pixel_size(blocks, table, rows, particles)
    if particles.pose is not None:
        _put_pose(frame, table, rows, particles.pose, pixel, written)
    if particles.ctf is not None:
        _put_ctf(frame, table, rows, particles.ctf)
    if particles.half_set is not None:
        subset = np.asarray(particles.half_set) + 1
        old = table.number("rlnRandomSubset", rows)
        if old is None or not np.array_equal(old, subset):
            frame["rlnRandomSubset"] = subset.astype(str)
    return blocks


def _put_pixel_size(
    blocks: dict[str, Any], table: StarTable, rows: np.ndarray, particles: ParticleSet
) -> tuple[np.ndarray, np.ndarray]:
    """Renew the pixel size in blocks where another was given in place of the stated one.

    Returns
    -------
    pixel : (N,) Å, of the table's images.
    written : (N,) Å, what the blocks then state; `pixel` where they state nothing.
    """
    stated = star.read_pixel_size(table, rows)
    known = np.isfinite(stated) & (stated > 0)
    if np.allclose(stated, particles.pixel_size, rtol=SAME, atol=0):
        return stated, stated
    pixel = renewed_pixel_size(particles, stated, _box_size(table, rows, particles))
    if not known.any():
        for line in pixel_size_disagreements(particles):
            logger.warning(
                "%s: no column holds the pixel size: %s; shifts keep their number of pixels.", table.path, line
            )
    ratio = np.where(known, pixel / np.where(known, stated, 1.0), 1.0)
    if np.all(ratio == 1):
        return pixel, pixel
    if _scale_pixel_size(blocks, table, rows, ratio):
        return pixel, pixel
    logger.warning(
        "%s: an optics group would need several pixel sizes, so those in the list stay; shifts "
        "keep their number of pixels.",
        table.path,
    )
    return pixel, np.where(known, stated, pixel)


def _scale_pixel_size(blocks: dict[str, Any], table: StarTable, rows: np.ndarray, ratio: np.ndarray) -> bool:
    """Multiply the pixel size that blocks state by `ratio` (N,); False if they cannot hold it."""
    frame = blocks[table.name]
    values = {label: table.number(label, rows) for label in PIXEL_LABELS}
    values = {label: old for label, old in values.items() if old is not None}
    of_group = [label for label in values if label not in frame]
    if of_group:
        optics_row = table.optics_row()[rows]
        used, first, group = np.unique(optics_row, return_index=True, return_inverse=True)
        if not np.allclose(ratio, ratio[first][group], rtol=SAME, atol=0):
            return False
        blocks["optics"] = blocks["optics"].copy()
    for label, old in values.items():
        new = old * ratio ** PIXEL_LABELS[label]
        if label in of_group:
            column = blocks["optics"].columns.get_loc(label)
            blocks["optics"].iloc[used, column] = _text(new[first])
        else:
            frame[label] = _text(new)
    return True


def _box_size(table: StarTable, rows: np.ndarray, particles: ParticleSet) -> np.ndarray:
    """Return the box of the table's images, (N,), by the table or their headers; 0 if not known."""
    box = table.number("rlnImageSize", rows, missing=0.0).astype(np.int64)
    if np.all(box > 0) or (particles.source is not None and particles.source.format == "star"):
        return box
    names = pd.Series(table.particles["rlnImageName"].to_numpy(object)[rows], dtype=object)
    stacks = names.astype(str).str.rpartition("@")[2]
    found: dict[str, int] = {}
    for name in stacks.unique():
        try:
            stack = open_stack(resolve_path(name, table.path))
        except DataError:
            continue
        found[name] = stack.shape[1]
        stack.close()
    return np.where(box > 0, box, [found.get(name, 0) for name in stacks])


def _image_names(table: StarTable, names: pd.Series, particles: ParticleSet) -> list[str]:
    """Keep names that the project folder can resolve; rewrite those that only `table` could."""
    written: dict[str, str] = {}
    result = []
    for i, text in enumerate(names):
        number, at, name = str(text).rpartition("@")
        if name not in written:
            written[name] = _project_name(name, table, particles, i)
        result.append(f"{number}{at}{written[name]}")
    return result


def _project_name(name: str, table: StarTable, particles: ParticleSet, i: int) -> str:
    if os.path.exists(name):
        return name
    try:
        return project_path(resolve_path(name, table.path))
    except DataError:
        pass
    own = particles.source is not None and particles.source.format == "star"
    if own and os.path.exists(particles.files[particles.file_id[i]]):
        return project_path(particles.files[particles.file_id[i]])
    return name


def _put_pose(
    frame: pd.DataFrame, table: StarTable, rows: np.ndarray, pose: Pose, pixel: np.ndarray, written: np.ndarray
) -> None:
    """Renew angles and shifts; `pixel` and `written` as `_put_pixel_size` returns them."""
    old = star.read_rotation(table, rows)
    if old is None or not np.allclose(old, pose.rotation, atol=2e-5):
        for label, angle in zip(star.ANGLES, euler_from_matrix(pose.rotation), strict=True):
            frame[label] = _text(angle)
    shift = np.asarray(pose.shift, np.float64)
    stored, unit = star.read_shift(table, rows)
    if stored is None:
        stored, unit = np.full_like(shift, np.nan), "angstrom"
    if unit == "pixel":
        shift = shift / pixel[:, None]
    else:
        shift = shift * (written / pixel)[:, None]
    if not np.allclose(stored, shift, atol=1e-3):
        for axis, letter in enumerate("XY"):
            label = f"rlnOrigin{letter}" + ("Angst" if unit == "angstrom" else "")
            frame[label] = _text(-shift[:, axis])


def _put_ctf(frame: pd.DataFrame, table: StarTable, rows: np.ndarray, ctf: CTFParams) -> None:
    old = star.read_ctf(table, rows)
    for column in CTF_COLUMNS:
        values = column.in_file(ctf)
        if old is None or not np.allclose(column.in_file(old), values, rtol=1e-5, atol=1e-4):
            frame[column.star] = _text(values)


def _text(values: np.ndarray) -> list[str]:
    return [f"{float(value):.6f}" for value in values]


def _fresh(particles: ParticleSet, known: np.ndarray | None) -> dict[str, Any]:
    """Return the optics and particles blocks of a set without a star table."""
    groups, group = optics_groups(particles, known)
    number = np.arange(1, len(groups) + 1)
    optics = {
        "rlnOpticsGroupName": [f"opticsGroup{i}" for i in number],
        "rlnOpticsGroup": [str(i) for i in number],
        "rlnImagePixelSize": _text(groups[:, 1]),
        "rlnImageSize": [str(int(box)) for box in groups[:, 0]],
        "rlnImageDimensionality": ["2"] * len(groups),
    }
    if particles.phase_flipped:
        optics["rlnCtfDataArePhaseFlipped"] = ["1"] * len(groups)
    if particles.ctf is not None:
        for column, values in zip(OF_GROUP, groups[:, 2:].T, strict=True):
            optics[column.star] = _text(values)
    return {"optics": pd.DataFrame(optics), "particles": _fresh_particles(particles, group + 1)}


def _fresh_particles(particles: ParticleSet, group: np.ndarray) -> pd.DataFrame:
    names = [project_path(file) for file in particles.files]
    pairs = zip(particles.image_index, particles.file_id, strict=True)
    columns: dict[str, Any] = {
        "rlnImageName": [f"{index + 1:06d}@{names[file]}" for index, file in pairs],
        "rlnOpticsGroup": [str(i) for i in group],
    }
    if particles.pose is not None:
        angles = euler_from_matrix(particles.pose.rotation)
        columns.update({k: _text(v) for k, v in zip(star.ANGLES, angles, strict=True)})
        for axis, letter in enumerate("XY"):
            columns[f"rlnOrigin{letter}Angst"] = _text(-np.asarray(particles.pose.shift)[:, axis])
    if particles.ctf is not None:
        own = [column for column in CTF_COLUMNS if not column.of_group]
        columns.update({column.star: _text(column.in_file(particles.ctf)) for column in own})
    if particles.half_set is not None:
        columns["rlnRandomSubset"] = [str(half + 1) for half in particles.half_set]
    if particles.group is not None:
        columns["rlnTomoParticleName"] = [f"series_{group:06d}" for group in particles.group]
    return pd.DataFrame(columns)
