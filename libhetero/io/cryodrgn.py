"""cryoDRGN's tables, pickles of arrays (`libhetero.io.pickled`).

poses: (rotations N×3×3, translations N×2 as a fraction of the box) or rotations alone. Its slices
are lattice @ R, so R takes model to image as ours does; its translation moves the image to its
centre, so t = -translation · box · pixel size.
ctf: N×9, [box, Å per pixel, U Å, V Å, angle °, kV, Cs mm, w, phase shift °]; N×11 adds
[scale, B-factor]. Images binned since keep box · Å per pixel, so the pixel size is that over their
box; a list that states a pixel size is believed first.
indices: rows of the list that are chosen (`libhetero.io.indices`), which plain text may say as well.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.io.aberrations import carried_over
from libhetero.io.ctf_columns import CTF_COLUMNS, ctf_of_columns
from libhetero.io.entries import Entries
from libhetero.io.indices import read_indices
from libhetero.io.pickled import read_pickle
from libhetero.records import CTFParams

ROUNDING = 1e-3  # by which R Rᵀ of a rotation may differ from one


@dataclass(frozen=True)
class Tables:
    """Paths of the files given, None for those that are not."""

    poses: str | os.PathLike | None = None
    ctf: str | os.PathLike | None = None
    indices: str | os.PathLike | None = None


def read_poses(path: str | os.PathLike) -> tuple[Float[np.ndarray, "particles 3 3"], Float[np.ndarray, "particles 2"]]:
    """Return rotations and our shifts as fractions of the box."""
    content = read_pickle(path)
    paired = isinstance(content, tuple | list) and len(content) == 2
    rotation, translation = content if paired else (content, None)
    rotation = _array(rotation, path, "poses", np.float64)
    if translation is None:
        translation = np.zeros((len(rotation) if rotation.ndim else 0, 2))
    translation = _array(translation, path, "poses", np.float64)
    if rotation.shape[1:] != (3, 3) or translation.shape != (len(rotation), 2):
        raise DataError(
            f"{path}: shapes {rotation.shape} and {translation.shape}; expected poses (N, 3, 3) "
            f"and (N, 2). Parse the poses again with cryoDRGN."
        )
    with np.errstate(all="ignore"):
        product = rotation @ rotation.transpose(0, 2, 1)
        good = np.abs(product - np.eye(3)).max(axis=(1, 2), initial=0.0) < ROUNDING
    if not good.all():
        raise DataError(
            f"{path}: row {np.argmin(good) + 1} is no rotation matrix. Parse the poses again with cryoDRGN."
        )
    if not np.all(np.abs(translation) <= 1):
        raise DataError(f"{path}: translations exceed the box; expected fractions of the box size.")
    return rotation, -translation


def read_ctf(
    path: str | os.PathLike,
) -> tuple[CTFParams, Float[np.ndarray, "particles"], Float[np.ndarray, "particles"]]:
    """Return the CTF, and the box (pixels) and pixel size (Å) it was determined at."""
    table = _array(read_pickle(path), path, "a CTF table", np.float64)
    if table.ndim != 2 or table.shape[1] not in (9, 11):
        raise DataError(f"{path}: shape {table.shape}; expected a cryoDRGN CTF table, (N, 9).")
    held = [column for column in CTF_COLUMNS if column.cryodrgn is not None and column.cryodrgn < table.shape[1]]
    values = {column.field: table[:, column.cryodrgn] for column in held}
    if "b_factor" in values:
        values["b_factor"] = np.abs(values["b_factor"])  # of tilts it is below 0, as in a .star of Warp's
    return ctf_of_columns(values, degrees=True), table[:, 0], table[:, 1]


def _array(content: Any, path: str | os.PathLike, what: str, kind: Any = None) -> np.ndarray:
    """Return the content of a pickle as one array; a pickle of other things is an error."""
    try:
        return np.asarray(content, kind)
    except (ValueError, TypeError, OverflowError):
        raise DataError(
            f"{path}: expected {what} in one array, found {type(content).__name__} of unlike parts; "
            f"check which file goes with --poses, --ctf and --ind."
        ) from None


def override(entries: Entries, tables: Tables, source: str | os.PathLike) -> Entries:
    """Return entries with the poses and CTF of the given tables in place of their own."""
    count = len(entries.name_id)
    chosen = choice(tables, count, source)
    if tables.poses is not None:
        rotation, shift = read_poses(tables.poses)
        rows = _rows(len(rotation), count, chosen, tables.poses, source)
        entries = dataclasses.replace(entries, rotation=rotation[rows], shift=shift[rows], shift_unit="box")
    if tables.ctf is not None:
        ctf, box, pixel = read_ctf(tables.ctf)
        rows = _rows(len(box), count, chosen, tables.ctf, source)
        entries = dataclasses.replace(entries, ctf=_with_doses(carried_over(ctf.take(rows), entries.ctf), entries))
        extent = np.where(entries.pixel_size > 0, np.nan, (box * pixel)[rows])
        entries = dataclasses.replace(entries, extent=extent)
    return entries


def _with_doses(ctf: CTFParams, entries: Entries) -> CTFParams:
    """Return a table's CTF of tilt series with the list's B-factors and scales, by which exposure and tilt are told,
    where the table has none."""
    stated = entries.ctf
    if entries.group is None or stated is None:
        return ctf
    b_factor = ctf.b_factor if np.any(ctf.b_factor) else stated.b_factor
    scale = ctf.scale if np.any(ctf.scale != 1) else stated.scale
    return dataclasses.replace(ctf, b_factor=b_factor, scale=scale)


def _rows(held: int, count: int, chosen: np.ndarray | None, table: object, source: object) -> np.ndarray:
    """Return the row of a table for each particle; a table of the chosen ones alone is spread."""
    if held == count:
        return np.arange(count)
    if chosen is not None and held == len(chosen):
        rows = np.zeros(count, np.int64)
        rows[chosen] = np.arange(held)
        return rows
    raise DataError(f"{table}: {held} rows for {count} particles of {source}; expected as many.")


def choice(tables: Tables, count: int, source: str | os.PathLike) -> Int[np.ndarray, "chosen"] | None:
    """Return the particles chosen by `indices` among the `count` of a list, None for all."""
    return None if tables.indices is None else read_indices(tables.indices, count, source)
