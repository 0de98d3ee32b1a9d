"""Writing RELION .star lists (3.1 layout), or giving a file that was read its columns and its layout back.

A list without optics groups is RELION 3.0's: shifts in pixels, and no `# version`, by which RELION would take it
for converted and leave the shifts out. One with optics groups keeps its version.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.io import lst, star
from libhetero.io.aberrations import star_columns
from libhetero.io.check import pixel_size_disagreements
from libhetero.io.cs_table import read_table as read_cs_table
from libhetero.io.ctf_columns import CTF_COLUMNS, OF_GROUP
from libhetero.io.euler import euler_from_matrix
from libhetero.io.exposures import exposure_of_image
from libhetero.io.images import open_stack
from libhetero.io.micrographs import by_exposure, cs_exposures, cs_micrographs, exposure_names
from libhetero.io.optics import optics_groups
from libhetero.io.origin import original_table
from libhetero.io.paths import project_path, require_readable_elsewhere, resolve_path
from libhetero.io.pixel_size import SAME, renewed_pixel_size
from libhetero.io.pose_changes import pose_figures
from libhetero.io.source_images import compare_images
from libhetero.io.star import EXPOSURE, PRE_EXPOSURE, StarTable
from libhetero.io.star_text import StarFile, write_star_file
from libhetero.records import CTFParams, ParticleSet, Pose

logger = logging.getLogger(__name__)

VERSION = "30001"
NO_CTF = {"rlnVoltage": "300.000000", "rlnSphericalAberration": "2.700000", "rlnAmplitudeContrast": "0.100000"}
PARTICLE_NAME = "rlnTomoParticleName"
PIXEL_LABELS = {"rlnImagePixelSize": 1, "rlnPixelSize": 1, "rlnMagnification": -1}


def write_star(
    path: str | os.PathLike,
    particles: ParticleSet,
    optics: Float[np.ndarray, "groups values"] | None = None,
    micrographs: Shaped[np.ndarray, "particles"] | None = None,
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
    micrographs : name of each particle's micrograph (text), where no table behind the set tells; None for what
        that table says.
    """
    found = original_table(particles, "star", star.read_table)
    if found is None:
        used = np.unique(particles.file_id)
        require_readable_elsewhere((particles.files[i] for i in used), path)
        blocks, versions = _fresh(particles, optics, micrographs), {"optics": VERSION, "particles": VERSION}
    else:
        blocks, versions = _updated(*found, particles), _versions(found[0])
    _warn_of_names(path, blocks["particles"] if found is None else blocks[found[0].name])
    write_star_file(path, StarFile(blocks, versions))


def _warn_of_names(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Say which stack RELION cannot open for its name, whatever the list says."""
    name = next((name for name in frame["rlnImageName"] if "#" in name or "%" in name), None)
    if name is not None:
        logger.warning("%s: RELION opens no stack with # or %% in its name (%s); rename it for RELION.", path, name)


def _name_for_relion(name: str) -> str:
    """Return a name that RELION opens as a stack: it takes .mrc for maps, other suffixes for Spider's files and
    what follows a colon for a type, unless the name ends in :mrcs."""
    return name if name.endswith(".mrcs") and ":" not in name else f"{name}:mrcs"


def _versions(table: StarTable) -> dict[str, str]:
    """Return the version of each block of a table that is written again."""
    if table.optics is not None:
        return table.versions or dict.fromkeys(("optics", table.name), VERSION)
    if "rlnOriginX" in table.particles or "rlnOriginY" in table.particles:
        return {}
    return table.versions


def _updated(table: StarTable, rows: np.ndarray, particles: ParticleSet) -> dict[str, Any]:
    """Return the blocks of a table with the rows of the set, renewed where the set differs."""
    frame = table.particles.iloc[rows].reset_index(drop=True)
    frame["rlnImageName"] = _image_names(table, rows, particles)
    blocks = {**table.blocks, table.name: frame}
    pixel, written = _put_pixel_size(blocks, table, rows, particles)
    if particles.pose is not None:
        _put_pose(frame, table, rows, particles.pose, pixel, written)
    if particles.ctf is not None:
        _put_ctf(blocks, table, rows, particles.ctf)
    if particles.group is not None:
        _put_series(blocks, table, rows, particles, particles.group)
    if particles.half_set is not None:
        subset = np.asarray(particles.half_set) + 1
        old = table.number("rlnRandomSubset", rows)
        if old is None or not np.array_equal(old, subset):
            frame["rlnRandomSubset"] = subset.astype(str)
    for label, values in _estimates(particles).items():
        frame[label] = values
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
    values = {label: table.number(label, rows) for label in PIXEL_LABELS}
    new = {label: old * ratio ** PIXEL_LABELS[label] for label, old in values.items() if old is not None}
    optics = table.optics
    if optics is not None and any(label in optics for label in new) and not _one_each_group(table, rows, ratio):
        return False
    for label, scaled in new.items():
        if optics is not None and label in optics:
            _put_in_optics(blocks, table, rows, label, scaled)
        if label in blocks[table.name]:
            blocks[table.name][label] = _text(scaled)
    return True


def _one_each_group(table: StarTable, rows: np.ndarray, values: np.ndarray) -> bool:
    """Return whether all particles of an optics group have one value."""
    _, first, group = np.unique(table.optics_row()[rows], return_index=True, return_inverse=True)
    return np.allclose(values, values[first][group], rtol=SAME, atol=0)


def _put_in_optics(blocks: dict[str, Any], table: StarTable, rows: np.ndarray, label: str, values: np.ndarray) -> None:
    """Give the optics groups of some particles a value (N,), one each group; a new column has the first elsewhere."""
    used, first = np.unique(table.optics_row()[rows], return_index=True)
    optics = blocks["optics"].copy()
    text = _text(values[first])
    column = optics[label].to_numpy(object).copy() if label in optics else np.full(len(optics), text[0], object)
    column[used] = text
    optics[label] = pd.Series(column, dtype=object)
    blocks["optics"] = optics


def _box_size(table: StarTable, rows: np.ndarray, particles: ParticleSet) -> np.ndarray:
    """Return the box of the table's images, (N,), by the table or their headers; 0 if not known."""
    box = table.number("rlnImageSize", rows, missing=0.0).astype(np.int64)
    if np.all(box > 0) or (particles.source is not None and particles.source.format == "star"):
        return box
    images = star.image_names(table)
    name_id = images.name_id[rows]
    found = np.zeros(len(images.names), np.int64)
    for i in np.unique(name_id):
        try:
            stack = open_stack(resolve_path(images.names[i], table.path))
        except DataError:
            continue
        found[i] = stack.shape[1]
        stack.close()
    return np.where(box > 0, box, found[name_id])


def _image_names(table: StarTable, rows: np.ndarray, particles: ParticleSet) -> list[str]:
    """Return the names of the images: as they were where the project folder finds the right stack by them, or
    rewritten for it."""
    texts = table.particles["rlnImageName"].to_numpy(object)[rows]
    own = _own_stacks(table, rows, particles)
    written: dict[tuple[str, int], str] = {}
    result = []
    for text, file_id in zip(texts, np.where(own, particles.file_id, -1), strict=True):
        number, at, name = text.partition("@") if "@" in text else ("", "", text)
        key = (name, int(file_id))
        if key not in written:
            written[key] = _project_name(name, table, particles.files[file_id] if file_id >= 0 else None)
        result.append(f"{number}{at}{written[key]}")
    return result


def _own_stacks(table: StarTable, rows: np.ndarray, particles: ParticleSet) -> np.ndarray:
    """Return whether the stack that a particle lies in is the one that its row of the table names, (N,).

    A set that was read from the table has found them. One from a project list may point at copies, binned or
    in another format; one of the same name and box, with images of the same numbers, is not one of these.
    """
    if particles.source is not None and particles.source.format == "star":
        return np.ones(len(particles), bool)
    found = compare_images(table, rows, particles)
    same = (
        (found.same_file | found.alike) & found.same_number & (_box_size(table, rows, particles) == particles.box_size)
    )
    whole = np.ones(len(particles.files), bool)
    np.logical_and.at(whole, particles.file_id, same)
    return whole[particles.file_id]


def _project_name(name: str, table: StarTable, own: str | None) -> str:
    """Return the name of a stack for the project folder.

    Parameters
    ----------
    name : in the table.
    own : the stack itself; None where only the table tells.
    """
    plain = star.without_type(name)
    stack = own if own is not None and os.path.exists(own) else None
    if stack is None:
        try:
            stack = resolve_path(plain, table.path)
        except DataError:
            return name
    if os.path.exists(plain) and os.path.samefile(plain, stack):
        return name
    return project_path(stack) + name[len(plain) :]


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
        stored, unit = np.full_like(shift, np.nan), "angstrom" if table.optics is not None else "pixel"
    if unit == "pixel":
        shift = shift / pixel[:, None]
    else:
        shift = shift * (written / pixel)[:, None]
    if not np.allclose(stored, shift, atol=1e-3):
        for axis, letter in enumerate("XY"):
            label = f"rlnOrigin{letter}" + ("Angst" if unit == "angstrom" else "")
            frame[label] = _text(-shift[:, axis])


def _put_ctf(blocks: dict[str, Any], table: StarTable, rows: np.ndarray, ctf: CTFParams) -> None:
    """Renew the CTF where it differs; what RELION reads of an optics group goes there."""
    old, frame = star.read_ctf(table, rows), blocks[table.name]
    for column in CTF_COLUMNS:
        values = column.in_file(ctf)
        if old is not None and np.allclose(column.in_file(old), values, rtol=1e-5, atol=1e-4):
            continue
        if table.optics is None or not column.of_group:
            frame[column.star] = _text(values)
        elif _one_each_group(table, rows, values):
            _put_in_optics(blocks, table, rows, column.star, values)
        else:
            raise DataError(
                f"{table.path}: the particles of an optics group have several values of {column.star}; expected one, "
                f"as RELION reads it. Give them groups of their own, or a list of each."
            )


def _put_series(
    blocks: dict[str, Any],
    table: StarTable,
    rows: np.ndarray,
    particles: ParticleSet,
    group: Int[np.ndarray, "particles"],
) -> None:
    """Name particles where the columns that told them no longer do, and renew exposures where they differ."""
    frame, label = blocks[table.name], star.series_label(table)
    written = StarTable(table.path, blocks, table.name)
    if label is None:
        frame[PARTICLE_NAME] = [f"series_{number:06d}" for number in _series_numbers(particles, group)]
    elif star.series_label(written) is None:
        frame[PARTICLE_NAME] = table.particles[label].to_numpy(object)[rows]
    exposure = None if particles.ctf is None else particles.ctf.exposure
    if exposure is not None:
        old = star.read_exposure(table)
        if old is None or not same_exposures(old[rows], np.asarray(exposure)):
            frame[PRE_EXPOSURE] = _pre_exposure(np.asarray(exposure), group)
        state_exposures(written, np.asarray(exposure))


def state_exposures(table: StarTable, exposure: Float[np.ndarray, "particles"]) -> None:
    """Give a table a column of the exposures themselves where its images do not tell them, as where some were left out.

    Parameters
    ----------
    table : whose particles are changed.
    exposure : e⁻/Å², up to the middle of each image.
    """
    read = star.read_exposure(table)
    if read is None or not same_exposures(read, exposure):
        table.particles[EXPOSURE] = _text(exposure)


def same_exposures(first: Float[np.ndarray, "particles"], second: Float[np.ndarray, "particles"]) -> bool:
    """Return whether exposures are the same, but for the digits of a list."""
    return np.allclose(first, second, rtol=1e-5, atol=1e-3)


def _pre_exposure(exposure: np.ndarray, group: np.ndarray) -> list[str]:
    """Return rlnMicrographPreExposure, which does not count the image's own exposure."""
    exposure = np.asarray(exposure, np.float64)
    return _text(np.maximum(exposure - exposure_of_image(exposure, group) / 2, 0))


def _text(values: np.ndarray) -> list[str]:
    return [f"{float(value):.6f}" for value in values]


def _fresh(particles: ParticleSet, known: np.ndarray | None, micrographs: np.ndarray | None) -> dict[str, Any]:
    """Return the optics and particles blocks of a set without a star table."""
    groups, group = optics_groups(particles, known)
    number = np.arange(1, len(groups) + 1)
    names = [f"opticsGroup{i}" for i in number]
    behind = original_table(particles, "cs", read_cs_table)
    exposures = cs_exposures(behind) if known is None else None
    if exposures is not None:
        parts, group = by_exposure(group, exposures)
        groups, number, names = groups[parts], np.arange(1, len(parts) + 1), exposure_names(group, exposures)
    optics = {
        "rlnOpticsGroupName": names,
        "rlnOpticsGroup": [str(i) for i in number],
        "rlnImagePixelSize": _text(groups[:, 1]),
        "rlnImageSize": [str(int(box)) for box in groups[:, 0]],
        "rlnImageDimensionality": ["2"] * len(groups),
    }
    if particles.phase_flipped:
        optics["rlnCtfDataArePhaseFlipped"] = ["1"] * len(groups)
    if particles.ctf is None:
        optics.update({label: [value] * len(groups) for label, value in NO_CTF.items()})
    else:
        after = 2 + len(OF_GROUP)
        for column, values in zip(OF_GROUP, groups[:, 2:after].T, strict=True):
            optics[column.star] = _text(values)
        optics.update(star_columns(particles.ctf, groups[:, after:]))
    micrographs = cs_micrographs(behind) if micrographs is None else micrographs
    return {"optics": pd.DataFrame(optics), "particles": _fresh_particles(particles, group + 1, micrographs)}


def _fresh_particles(particles: ParticleSet, group: np.ndarray, micrographs: np.ndarray | None) -> pd.DataFrame:
    names = [_name_for_relion(project_path(file)) for file in particles.files]
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
    if micrographs is not None:
        columns["rlnMicrographName"] = micrographs
    if particles.group is not None:
        columns |= _series(particles, particles.group)
    frame = pd.DataFrame(columns | _estimates(particles))
    if particles.group is not None and particles.ctf is not None and particles.ctf.exposure is not None:
        state_exposures(StarTable("", {"particles": frame}, "particles"), np.asarray(particles.ctf.exposure))
    return frame


def _series(particles: ParticleSet, group: Int[np.ndarray, "particles"]) -> dict[str, list[str]]:
    """Return the columns that tie the images of a tilt series together, and tell their tilts and exposures."""
    columns = {PARTICLE_NAME: [f"series_{number:06d}" for number in _series_numbers(particles, group)]}
    if particles.tilt is not None:
        columns["rlnTomoNominalStageTiltAngle"] = _text(particles.tilt)
    if particles.ctf is not None and particles.ctf.exposure is not None:
        columns[PRE_EXPOSURE] = _pre_exposure(np.asarray(particles.ctf.exposure), group)
    return columns


def _series_numbers(particles: ParticleSet, group: Int[np.ndarray, "particles"]) -> list[int]:
    """Return the number of the particle that each image shows: a project list's own, where it has one."""
    source = particles.source
    if source is None or source.format != "lst":
        return group.tolist()
    stated = [lst.line_values(source.data, int(row)).get("ptcl3d_id") for row in source.rows]
    return [number if own is None else int(own) for own, number in zip(stated, group.tolist(), strict=True)]


def _estimates(particles: ParticleSet) -> dict[str, list[str]]:
    """Return the columns that hold a model's estimates; RELION keeps them without reading them."""
    columns: dict[str, list[str]] = {}
    if (estimates := particles.estimates) is not None:
        columns |= {"libheteroContrast": _text(estimates.contrast), "libheteroJunk": _text(estimates.junk)}
    if (given := particles.given) is not None:
        angles = euler_from_matrix(given.pose.rotation)
        columns |= {f"libheteroGiven{label[3:]}": _text(v) for label, v in zip(star.ANGLES, angles, strict=True)}
        columns |= {
            f"libheteroGivenOrigin{letter}Angst": _text(-np.asarray(given.pose.shift)[:, axis])
            for axis, letter in enumerate("XY")
        }
        columns |= {f"libhetero{name}": _text(values) for name, values in pose_figures(given.change).items()}
    return columns
