"""The columns of a cryoSPARC table that are read: what each must hold, checked once, at the door.

A column of a known name has a kind and a shape for each particle; other columns are carried as they are. Some
go with another (a path with an image number, a pose with a shift).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from libhetero.errors import DataError
from libhetero.io.ctf_columns import CTF_COLUMNS

WORDS = {"f": "floats", "iu": "whole numbers", "u": "whole numbers from 0", "SU": "text"}
FOR_EACH_CLASS = None  # an axis of a length that is the file's own
EXPORT = "export the particles again from cryoSPARC"


@dataclass(frozen=True)
class CsColumn:
    """What a column holds for each particle.

    Parameters
    ----------
    kinds : NumPy's letters of the dtypes that may stand there.
    shapes : those allowed; () is one value.
    """

    kinds: str
    shapes: tuple[tuple[int | None, ...], ...] = ((),)

    def admits(self, kind: np.dtype) -> bool:
        """Return whether a column of this dtype is one of these."""
        return kind.base.kind in self.kinds and any(self._fits(kind.shape, shape) for shape in self.shapes)

    @staticmethod
    def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
        return len(found) == len(shape) and all(n is None or n == m for m, n in zip(found, shape, strict=True))

    def __str__(self) -> str:
        shape = " or ".join(" × ".join("classes" if n is None else str(n) for n in one) for one in self.shapes if one)
        return f"{WORDS[self.kinds]}, {shape or 'one'} a particle"


SLOT = re.compile(r"alignments3D|alignments_class(?:3D)?_[0-9]{1,6}")
MULTIPLE = "alignments3D_multi"
ALIGNMENT = {
    "pose": CsColumn("f", ((3,),)),
    "shift": CsColumn("f", ((2,),)),
    "psize_A": CsColumn("f"),
    "split": CsColumn("iu"),
    "class_posterior": CsColumn("f"),
}
ALIGNMENT_OF_CLASSES = {
    "pose": CsColumn("f", ((FOR_EACH_CLASS, 3),)),
    "shift": CsColumn("f", ((FOR_EACH_CLASS, 2),)),
    "psize_A": CsColumn("f", ((), (FOR_EACH_CLASS,))),
    "split": CsColumn("iu", ((), (FOR_EACH_CLASS,))),
    "class_posterior": CsColumn("f", ((FOR_EACH_CLASS,),)),
}
COLUMNS = {
    "uid": CsColumn("u"),
    "blob/path": CsColumn("SU"),
    "blob/idx": CsColumn("iu"),
    "blob/shape": CsColumn("iu", ((2,),)),
    "blob/psize_A": CsColumn("f"),
    "blob/sign": CsColumn("f"),
    "ctf/exp_group_id": CsColumn("iu"),
    "location/exp_group_id": CsColumn("iu"),
    "location/micrograph_path": CsColumn("SU"),
    **{column.cs: CsColumn("f") for column in CTF_COLUMNS},
}
NEEDS = {"blob/path": "blob/idx", "alignments3D/pose": "alignments3D/shift"}


def column_of(name: str) -> CsColumn | None:
    """Return what a column of this name must hold; None for one that is not read."""
    slot, _, field = name.rpartition("/")
    if SLOT.fullmatch(slot):
        return ALIGNMENT.get(field)
    return ALIGNMENT_OF_CLASSES.get(field) if slot == MULTIPLE else COLUMNS.get(name)


def names_of(rows: Shaped[np.ndarray, "..."]) -> tuple[str, ...]:
    """Return the names of a table's columns."""
    return rows.dtype.names or ()


def check_columns(path: str | os.PathLike, rows: Shaped[np.ndarray, "..."]) -> None:
    """Check that a table holds what its columns' names promise.

    Raises
    ------
    DataError : naming the file, the column, what was expected and what it holds.
    """
    names = names_of(rows)
    if not names or rows.ndim != 1:
        found = f"{rows.ndim} axes" if names else "no named columns"
        raise DataError(
            f"{path}: {found}; expected a cryoSPARC particle table, one row a particle. {EXPORT.capitalize()}."
        )
    for name in names:
        known, kind = column_of(name), rows.dtype[name]
        if known is not None and not known.admits(kind):
            shape = " × ".join(map(str, kind.shape)) or "one"
            raise DataError(f"{path}: column {name}: expected {known}; got {kind.base}, {shape} a particle; {EXPORT}.")
    for name, needed in NEEDS.items():
        if name in names and needed not in names:
            raise DataError(f"{path}: column {name} without {needed}; expected both; {EXPORT}.")
    if "blob/idx" in names:
        wrong = np.flatnonzero((rows["blob/idx"] < 0) | (rows["blob/idx"] >= 2**31))
        if len(wrong):
            found = rows["blob/idx"][wrong[0]]
            raise DataError(f"{path}: blob/idx of particle {wrong[0] + 1} is {found}; images count from 0; {EXPORT}.")
