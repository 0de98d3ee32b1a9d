"""Writing cryoSPARC particle tables (.cs), or giving a table that was read its columns back."""

from __future__ import annotations

import logging
import os

import numpy as np
from scipy.spatial.transform import Rotation

from libhetero.files import replacing
from libhetero.io import star
from libhetero.io.aberrations import told_of_loss
from libhetero.io.cs_alignment import MAIN, read_alignment
from libhetero.io.cs_columns import names_of
from libhetero.io.cs_table import read_table, with_columns
from libhetero.io.ctf_columns import CTF_COLUMNS
from libhetero.io.micrographs import StarRows, exposure_ids, occurrences
from libhetero.io.origin import original_table
from libhetero.io.paths import project_path, require_readable_elsewhere
from libhetero.io.pixel_size import renewed_pixel_size
from libhetero.io.pose_changes import pose_figures
from libhetero.io.uids import image_uids, text_uids
from libhetero.records import CTFParams, GivenPoses, ParticleSet, Pose

logger = logging.getLogger(__name__)
CS_NAMES = {  # of how far each pose was moved, degrees and Å
    "PoseTurn": "libhetero/pose_turn_deg",
    "PoseTurnSd": "libhetero/pose_turn_sd_deg",
    "PoseShift": "libhetero/pose_shift_A",
    "PoseShiftSd": "libhetero/pose_shift_sd_A",
}


def write_cs(path: str | os.PathLike, particles: ParticleSet) -> None:
    """Write a particle table: the one that the set came from, where it did, renewed and completed from the set."""
    if particles.phase_flipped:
        logger.warning("%s: the images are phase-flipped, which no column of a .cs says.", path)
    found = original_table(particles, "cs", read_table)
    if found is None:
        told_of_loss(particles.ctf, path)
        if particles.group is not None:
            logger.warning("%s: a .cs does not say which images are of one particle; tilt series are lost in it.", path)
        require_readable_elsewhere((particles.files[i] for i in np.unique(particles.file_id)), path)
    behind = original_table(particles, "star", star.read_table) if found is None else None
    rows = np.zeros(len(particles), []) if found is None else found[0].particles[found[1]]
    rows = _completed(rows, particles, behind)
    if found is not None:
        _put_pixel_size(rows, particles)
    if particles.pose is not None:
        rows = _put_pose(rows, particles, particles.pose, path)
    if particles.ctf is not None:
        _put_ctf(rows, particles.ctf)
    if particles.half_set is not None and not np.array_equal(rows[f"{MAIN}/split"], particles.half_set):
        rows[f"{MAIN}/split"] = particles.half_set
    if particles.given is not None:
        rows = _with_given_poses(rows, particles.given)
    with replacing(path) as beside, open(beside, "wb") as file:
        np.save(file, rows, allow_pickle=False)


def _completed(rows: np.ndarray, particles: ParticleSet, behind: StarRows | None) -> np.ndarray:
    """Return rows with the columns that a set can fill and they lack; those of an image go together.

    Parameters
    ----------
    rows : of the table behind the set, without a column where there is none.
    particles : the set.
    behind : the .star behind it, and the row of each particle there.
    """
    names = names_of(rows)
    new: dict[str, np.ndarray] = {}
    if "uid" not in names:
        new["uid"] = image_uids(
            particles.files, particles.file_id, particles.image_index, occurrences(particles, behind)
        )
    if "blob/path" not in names:
        new |= _image_columns(particles)
        if particles.contrast == 0:
            logger.info("the list does not state the contrast, which a .cs does: this one says white (blob/sign 1)")
    if particles.ctf is not None:
        new |= _ctf_columns(particles, particles.ctf, names, behind)
    if behind is not None:
        new |= _micrograph_columns(particles, behind)
    if particles.half_set is not None and f"{MAIN}/split" not in names:
        new[f"{MAIN}/split"] = np.asarray(particles.half_set).astype("<u4")
    return with_columns(rows, new)


def _image_columns(particles: ParticleSet) -> dict[str, np.ndarray]:
    names = np.array([os.fsencode(project_path(file)) for file in particles.files] or [b""])
    return {
        "blob/path": names[particles.file_id],
        "blob/idx": np.asarray(particles.image_index).astype("<u4"),
        "blob/shape": np.repeat(np.asarray(particles.box_size).astype("<u4")[:, None], 2, axis=1),
        "blob/psize_A": np.asarray(particles.pixel_size).astype("<f4"),
        "blob/sign": np.full(len(particles), -1.0 if particles.contrast < 0 else 1.0, "<f4"),
    }


def _ctf_columns(
    particles: ParticleSet, ctf: CTFParams, names: tuple[str, ...], behind: StarRows | None
) -> dict[str, np.ndarray]:
    """Return the CTF's columns that are not among `names`; of a table that has some, those alone that say anything."""
    begun = any(column.cs in names for column in CTF_COLUMNS)
    new: dict[str, np.ndarray] = {}
    if not begun and "ctf/exp_group_id" not in names:
        new["ctf/type"] = np.full(len(particles), b"imported", "S9")
        new["ctf/exp_group_id"] = exposure_ids(particles, behind).astype("<u4")
    for column in CTF_COLUMNS:
        values = np.asarray(getattr(ctf, column.field)).astype("<f4")
        if column.cs not in names and (not begun or np.any(values != column.absent)):
            new[column.cs] = values
    return new


def _micrograph_columns(particles: ParticleSet, behind: StarRows) -> dict[str, np.ndarray]:
    """Return where particles were picked, if the .star behind them says."""
    names = behind[0].column("rlnMicrographName", behind[1])
    if names is None:
        return {}
    return {
        "location/micrograph_uid": text_uids(names),
        "location/exp_group_id": exposure_ids(particles, behind).astype("<u4"),
        "location/micrograph_path": np.array([os.fsencode(name) for name in names] or [b""])[: len(names)],
    }


def _put_pixel_size(rows: np.ndarray, particles: ParticleSet) -> None:
    """Renew every psize_A where another pixel size was given in place of the stated one."""
    if not {"blob/psize_A", "blob/shape"} <= set(names_of(rows)):
        return
    stated = rows["blob/psize_A"].astype(np.float64)
    pixel = renewed_pixel_size(particles, stated, rows["blob/shape"][:, 1].astype(np.int64))
    changed = pixel != stated
    ratio = pixel[changed] / np.where(stated > 0, stated, pixel)[changed]
    for name in names_of(rows):
        if name.endswith("/psize_A"):
            old = rows[name][changed]
            rows[name][changed] = (old.T * ratio).T
    rows["blob/psize_A"] = pixel


def _put_pose(rows: np.ndarray, particles: ParticleSet, pose: Pose, path: str | os.PathLike) -> np.ndarray:
    """Return the rows with the pose, writing what differs from the one they have; poses per class become one."""
    rotation = Rotation.from_matrix(np.asarray(pose.rotation, np.float64)).inv()
    names = names_of(rows)
    if f"{MAIN}/pose" not in names:
        size = rows["blob/psize_A"] if "blob/psize_A" in names else np.asarray(particles.pixel_size, np.float32)
        shift = -np.asarray(pose.shift) / size[:, None]
        slot = {"pose": rotation.as_rotvec().astype("<f4"), "shift": shift.astype("<f4"), "psize_A": size}
        return with_columns(rows, {f"{MAIN}/{field}": values for field, values in slot.items()})
    old = read_alignment(rows, path)
    if old is None or not np.allclose(old.rotation, pose.rotation, atol=2e-5):
        rows[f"{MAIN}/pose"] = rotation.as_rotvec()
    if old is None or not np.allclose(old.shift, pose.shift, atol=1e-3):
        name = _unit_of_shifts(rows)
        rows[name] = np.where(rows[name] > 0, rows[name], particles.pixel_size)  # 0 is read where nothing is shifted
        rows[f"{MAIN}/shift"] = -np.asarray(pose.shift) / rows[name][:, None]
    return rows


def _unit_of_shifts(rows: np.ndarray) -> str:
    """Return the column of the pixel size that shifts are in."""
    return f"{MAIN}/psize_A" if f"{MAIN}/psize_A" in names_of(rows) else "blob/psize_A"


def _with_given_poses(rows: np.ndarray, given: GivenPoses) -> np.ndarray:
    """Return rows with the given poses beside the refined ones, in the same units, and how far apart they are."""
    size = rows[_unit_of_shifts(rows)]
    rotation = Rotation.from_matrix(np.asarray(given.pose.rotation, np.float64)).inv()
    columns = {
        "libhetero/given_pose": rotation.as_rotvec().astype("<f4"),
        "libhetero/given_shift": (-np.asarray(given.pose.shift) / size[:, None]).astype("<f4"),
    }
    for name, values in pose_figures(given.change).items():
        columns[CS_NAMES[name]] = values.astype("<f4")
    return with_columns(rows, columns)


def _put_ctf(rows: np.ndarray, ctf: CTFParams) -> None:
    for column in CTF_COLUMNS:
        name, values = column.cs, getattr(ctf, column.field)
        if name in names_of(rows) and not np.allclose(rows[name], values, rtol=1e-5, atol=1e-5):
            rows[name] = values
