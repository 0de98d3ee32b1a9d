"""Poses in a cryoSPARC table: of all particles (alignments3D), or of each class.

    R = (matrix of the rotation vector pose)ᵀ      t = -shift · psize_A

The vector is that of the active rotation, which takes image axes to the model's. Shifts are in pixels of the slot's own
psize_A, which need not be the image's. Ab-initio reconstruction and heterogeneous refinement leave a pose for each
class, in slots of their own (alignments_class_K, alignments_class3D_K) or in one (alignments3D_multi, a row a class):
a particle then takes the pose of its most probable class.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Shaped
from scipy.spatial.transform import Rotation

from libhetero.errors import DataError
from libhetero.io.cs_columns import EXPORT, MULTIPLE, SLOT, names_of

MAIN = "alignments3D"
OF_CLASS = ("alignments_class3D_", "alignments_class_")


@dataclass(frozen=True, eq=False)
class Alignment:
    """The alignment of each particle.

    Parameters
    ----------
    rotation : R, model to image.
    shift : t, Å.
    split : half-set as the table numbers it; None when it does not say.
    slots : where it was found: one name, or the names of the classes'.
    """

    rotation: Float[np.ndarray, "particles 3 3"]
    shift: Float[np.ndarray, "particles 2"]
    split: Integer[np.ndarray, "particles"] | None
    slots: tuple[str, ...]


def read_alignment(rows: Shaped[np.ndarray, "particles"], path: str | os.PathLike) -> Alignment | None:
    """Return the alignment of each particle, or None when the table holds none.

    Parameters
    ----------
    rows : of the table.
    path : of the table, to name it in errors.

    Raises
    ------
    DataError : if classes cannot be chosen from, or shifts are in pixels of no known size.
    """
    names = names_of(rows)
    slots = _slots(names)
    if not slots:
        return None
    best = _best_class(rows, slots, path)
    pose, shift, size, split = (_of_best(rows, slots, field, best) for field in ("pose", "shift", "psize_A", "split"))
    if size is None and "blob/psize_A" in names:
        size = rows["blob/psize_A"]
    if size is not None:
        size = np.where(size > 0, size, 0.0).astype(np.float64)
    if pose is None or shift is None or size is None or np.any(shift[size == 0] != 0):
        raise DataError(
            f"{path}: {slots[0]}: expected pose, shift and psize_A of each class, psize_A (in whose pixels "
            f"shifts are) above 0; {EXPORT}."
        )
    rotation = Rotation.from_rotvec(pose.astype(np.float64)).inv().as_matrix().reshape(-1, 3, 3)
    return Alignment(rotation, -shift.astype(np.float64) * size[:, None], split, slots)


def _slots(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the slot of all particles, or else those of the classes in their order."""
    for slot in (MAIN, MULTIPLE):
        if f"{slot}/pose" in names:
            return (slot,)
    found = [name.removesuffix("/pose") for name in names if name.endswith("/pose")]
    for start in OF_CLASS:
        slots = [slot for slot in found if SLOT.fullmatch(slot) and slot.startswith(start)]
        if slots:
            return tuple(sorted(slots, key=lambda slot: int(slot.rpartition("_")[2])))
    return ()


def _best_class(rows: np.ndarray, slots: tuple[str, ...], path: str | os.PathLike) -> Integer[np.ndarray, "particles"]:
    """Return the most probable class of each particle, by its place among the classes."""
    count = rows.dtype[f"{MULTIPLE}/pose"].shape[0] if slots == (MULTIPLE,) else len(slots)
    if count == 1:
        return np.zeros(len(rows), np.int64)
    names = [f"{slot}/class_posterior" for slot in slots]
    if not set(names) <= set(names_of(rows)) or (len(slots) == 1 and rows.dtype[names[0]].shape != (count,)):
        raise DataError(
            f"{path}: {count} classes have poses ({slots[0]} …), but no class_posterior says which is a particle's; "
            f"export the particles of one class from cryoSPARC."
        )
    posterior = rows[names[0]] if len(slots) == 1 else np.stack([rows[name] for name in names], axis=1)
    return np.argmax(np.nan_to_num(posterior, nan=-1.0), axis=1)


def _of_best(
    rows: np.ndarray, slots: tuple[str, ...], field: str, best: Integer[np.ndarray, "particles"]
) -> Shaped[np.ndarray, "particles ..."] | None:
    """Return a field of each particle's own class, (N, …); None unless all classes have it."""
    names = [f"{slot}/{field}" for slot in slots]
    if not set(names) <= set(names_of(rows)):
        return None
    if slots == (MULTIPLE,):
        one = field in ("psize_A", "split") and rows[names[0]].ndim == 1
        if not one and best.max(initial=0) >= rows[names[0]].shape[1]:
            return None
        return rows[names[0]] if one else rows[names[0]][np.arange(len(rows)), best]
    found = rows[names[0]].copy()
    for place, name in enumerate(names[1:], 1):
        found[best == place] = rows[name][best == place]
    return found
