"""cryoSPARC particle tables (.cs): a NumPy record array with no pickled objects.

    R = (matrix of the rotation vector alignments3D/pose)ᵀ      t = -shift · alignments3D/psize_A

The vector is that of the active rotation, which takes image axes to the model's. Shifts are in
pixels of alignments3D/psize_A, which need not be the image's. blob/sign is -1 for dark particles;
blob/path may begin with '>' (exported).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy.spatial.transform import Rotation

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.aberrations import told_of_cryosparc, told_of_loss
from libhetero.io.ctf_columns import CTF_COLUMNS, ctf_of_columns, lacking
from libhetero.io.entries import Entries, unique_names
from libhetero.io.origin import original_table
from libhetero.io.paths import check_readable, project_path, require_readable_elsewhere
from libhetero.io.pixel_size import renewed_pixel_size
from libhetero.records import CTFParams, ParticleSet, Pose, SourceTable


@dataclass(frozen=True, eq=False)
class CsTable:
    """A .cs file whole: its path and its record array."""

    path: str
    particles: Shaped[np.ndarray, "particles"]


def read_table(path: str | os.PathLike) -> CsTable:
    """Read a .cs file.

    Raises
    ------
    DataError : if it is no NumPy record array, or would need unpickling.
    """
    check_readable(path)
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path}: not a cryoSPARC table ({reason}); export it again.") from None
    if not isinstance(table, np.ndarray) or not _names(table):
        raise DataError(f"{path}: no named columns; expected a cryoSPARC particle table.")
    return CsTable(str(path), table)


def _names(rows: np.ndarray) -> tuple[str, ...]:
    return rows.dtype.names or ()


def read_cs(path: str | os.PathLike) -> Entries:
    """Read a particle table."""
    table = read_table(path)
    rows = table.particles
    if "blob/path" not in _names(rows):
        if len(rows) == 0:
            return _empty(table)
        raise DataError(
            f"{path}: no column blob/path, so no images; give the table that has them "
            f"(the passthrough or the exported one)."
        )
    paths = [value.decode("utf-8", "replace").lstrip(">") for value in rows["blob/path"]]
    names, name_id = unique_names(paths)
    told_of_cryosparc(rows, path)
    pose = read_pose(rows)
    signs = set(np.sign(rows["blob/sign"])) if "blob/sign" in _names(rows) else set()
    half = rows["alignments3D/split"] if "alignments3D/split" in _names(rows) else None
    return Entries(
        names=names,
        name_id=name_id,
        image_index=rows["blob/idx"].astype(np.int64),
        source=SourceTable("cs", table, np.arange(len(rows))),
        box_size=rows["blob/shape"][:, 1].astype(np.int64),
        pixel_size=rows["blob/psize_A"].astype(np.float64),
        rotation=None if pose is None else pose[0],
        shift=None if pose is None else pose[1],
        shift_unit="angstrom",
        ctf=read_ctf(rows),
        contrast=int(signs.pop()) if len(signs) == 1 else 0,
        half_set=None if half is None or not np.isin(half, (0, 1)).all() else half.astype(int),
    )


def _empty(table: CsTable) -> Entries:
    nothing = np.zeros(0, np.int64)
    source = SourceTable("cs", table, nothing)
    return Entries((), nothing, nothing, source, nothing, np.zeros(0))


def read_pose(
    rows: Shaped[np.ndarray, "particles"],
) -> tuple[Float[np.ndarray, "particles 3 3"], Float[np.ndarray, "particles 2"]] | None:
    """Return R and t in Å, or None when the table has no 3-D alignment."""
    names = _names(rows)
    if "alignments3D/pose" not in names or "alignments3D/shift" not in names:
        return None
    vector = rows["alignments3D/pose"].astype(np.float64)
    rotation = Rotation.from_rotvec(vector).inv().as_matrix()
    size = "alignments3D/psize_A" if "alignments3D/psize_A" in names else "blob/psize_A"
    return rotation, -rows["alignments3D/shift"].astype(np.float64) * rows[size][:, None]


def read_ctf(rows: Shaped[np.ndarray, "particles"]) -> CTFParams | None:
    """Return the CTF (N,), or None when the table has none."""
    found = {column.field: rows[column.cs] for column in CTF_COLUMNS if column.cs in _names(rows)}
    return None if lacking(found) else ctf_of_columns(found)


def write_cs(path: str | os.PathLike, particles: ParticleSet) -> None:
    """Write a particle table, with every column of a .cs the set came from."""
    found = original_table(particles, "cs", read_table)
    if found is None:
        told_of_loss(particles.ctf, path)
        rows = _fresh(particles, path)
    else:
        rows = found[0].particles[found[1]].copy()
        _put_pixel_size(rows, particles)
    if particles.pose is not None:
        rows = _put_pose(rows, particles.pose)
    if particles.ctf is not None:
        _put_ctf(rows, particles.ctf)
    with replacing(path) as beside, open(beside, "wb") as file:
        np.save(file, rows, allow_pickle=False)


def _put_pixel_size(rows: np.ndarray, particles: ParticleSet) -> None:
    """Renew every psize_A where another pixel size was given in place of the stated one."""
    if not {"blob/psize_A", "blob/shape"} <= set(_names(rows)):
        return
    stated = rows["blob/psize_A"].astype(np.float64)
    pixel = renewed_pixel_size(particles, stated, rows["blob/shape"][:, 1].astype(np.int64))
    changed = pixel != stated
    ratio = pixel[changed] / np.where(stated > 0, stated, pixel)[changed]
    for name in _names(rows):
        if name.endswith("/psize_A"):
            old = rows[name][changed]
            rows[name][changed] = (old.T * ratio).T
    rows["blob/psize_A"] = pixel


def _put_pose(rows: np.ndarray, pose: Pose) -> np.ndarray:
    """Return the rows with the pose, writing what differs from the one they have."""
    old = read_pose(rows)
    if old is None:
        kinds: list[tuple] = [("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,))]
        kinds += [("alignments3D/psize_A", "<f4")]
        rows = _with_columns(rows, kinds)
        rows["alignments3D/psize_A"] = rows["blob/psize_A"]
        old = np.full((len(rows), 3, 3), np.nan), np.full((len(rows), 2), np.nan)
    size = "alignments3D/psize_A" if "alignments3D/psize_A" in _names(rows) else "blob/psize_A"
    if not np.allclose(old[0], pose.rotation, atol=2e-5):
        rotation = Rotation.from_matrix(np.asarray(pose.rotation, np.float64))
        rows["alignments3D/pose"] = rotation.inv().as_rotvec()
    if not np.allclose(old[1], pose.shift, atol=1e-3):
        rows["alignments3D/shift"] = -np.asarray(pose.shift) / rows[size][:, None]
    return rows


def _put_ctf(rows: np.ndarray, ctf: CTFParams) -> None:
    for column in CTF_COLUMNS:
        name, values = column.cs, getattr(ctf, column.field)
        if name in _names(rows) and not np.allclose(rows[name], values, rtol=1e-5, atol=1e-5):
            rows[name] = values


def _with_columns(rows: np.ndarray, kinds: list[tuple]) -> np.ndarray:
    wider = np.zeros(len(rows), rows.dtype.descr + kinds)
    for name in _names(rows):
        wider[name] = rows[name]
    return wider


def _fresh(particles: ParticleSet, path: str | os.PathLike) -> np.ndarray:
    """Return a table with the images of a set that came from elsewhere."""
    require_readable_elsewhere((particles.files[i] for i in np.unique(particles.file_id)), path)
    names = [project_path(file).encode() for file in particles.files]
    width = max(map(len, names), default=1)
    kinds: list[tuple] = [("uid", "<u8"), ("blob/path", f"S{width}"), ("blob/idx", "<u4")]
    kinds += [("blob/shape", "<u4", (2,)), ("blob/psize_A", "<f4"), ("blob/sign", "<f4")]
    if particles.ctf is not None:
        kinds += [("ctf/type", "S9"), ("ctf/exp_group_id", "<u4")]
        kinds += [(column.cs, "<f4") for column in CTF_COLUMNS]
    if particles.half_set is not None:
        kinds += [("alignments3D/split", "<u4")]
    rows = np.zeros(len(particles), kinds)
    rows["uid"] = np.arange(1, len(particles) + 1)
    rows["blob/path"] = np.array(names or [b""])[particles.file_id]
    rows["blob/idx"] = particles.image_index
    rows["blob/shape"] = particles.box_size[:, None]
    rows["blob/psize_A"] = particles.pixel_size
    rows["blob/sign"] = -1.0 if particles.contrast < 0 else 1.0
    if particles.ctf is not None:
        rows["ctf/type"] = b"imported"
    if particles.half_set is not None:
        rows["alignments3D/split"] = particles.half_set
    return rows
