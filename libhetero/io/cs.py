"""cryoSPARC particle tables (.cs): what they say of particles.

blob/sign is -1 for dark particles; blob/path may begin with '>' (exported). Poses are described in `cs_alignment`,
columns in `cs_columns`, files in `cs_table`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer, Shaped

from libhetero.errors import DataError
from libhetero.io.aberrations import told_of_cryosparc
from libhetero.io.cs_alignment import MAIN, Alignment, read_alignment
from libhetero.io.cs_columns import names_of
from libhetero.io.cs_table import CsTable, read_table, tables_beside
from libhetero.io.ctf_columns import CTF_COLUMNS, ctf_of_columns, lacking
from libhetero.io.entries import Entries, unique_names
from libhetero.io.micrographs import as_text
from libhetero.records import CTFParams, SourceTable

logger = logging.getLogger(__name__)


def read_cs(path: str | os.PathLike, passthrough: Sequence[str | os.PathLike] = ()) -> Entries:
    """Read a particle table, with the columns it lacks from `passthrough`, other tables of its job.

    Raises
    ------
    DataError : if it is no particle table, names no images, or its particles are of several kinds.
    """
    table = read_table(path, passthrough)
    rows, count = table.particles, len(table.particles)
    if "blob/path" not in names_of(rows):
        if count == 0:
            return _empty(table)
        raise DataError(f"{path}: no column blob/path, so no images; {_other_table(path)}.")
    names, name_id = unique_names(map(as_text, rows["blob/path"].tolist()))
    if not all(names):
        row = int(np.argmin([bool(names[i]) for i in name_id])) + 1
        raise DataError(
            f"{path}: blob/path of particle {row} is empty; expected its stack; export the particles again."
        )
    alignment = read_alignment(rows, path)
    _tell(path, rows, alignment, bool(passthrough))
    return Entries(
        names=names,
        name_id=name_id,
        image_index=rows["blob/idx"].astype(np.int64),
        source=SourceTable("cs", table, np.arange(count)),
        box_size=rows["blob/shape"][:, 1].astype(np.int64) if "blob/shape" in names_of(rows) else np.zeros(count, int),
        pixel_size=_column(rows, "blob/psize_A", np.nan),
        rotation=None if alignment is None else alignment.rotation,
        shift=None if alignment is None else alignment.shift,
        shift_unit="angstrom",
        ctf=read_ctf(rows, path),
        contrast=_contrast(path, rows),
        half_set=_half_set(path, alignment),
    )


def _empty(table: CsTable) -> Entries:
    nothing = np.zeros(0, np.int64)
    source = SourceTable("cs", table, nothing)
    return Entries((), nothing, nothing, source, nothing, np.zeros(0))


def _column(rows: np.ndarray, name: str, absent: float) -> np.ndarray:
    return rows[name].astype(np.float64) if name in names_of(rows) else np.full(len(rows), absent)


def _other_table(path: str | os.PathLike) -> str:
    """Return where the columns that a table lacks are to be found, and how to give it."""
    beside = tables_beside(path)
    lies = f" (beside it: {', '.join(beside)})" if beside else ""
    return f"the other tables of its job have what it lacks: join them by uid with --passthrough FILE{lies}"


def _tell(path: str | os.PathLike, rows: np.ndarray, alignment: Alignment | None, joined: bool) -> None:
    """Say what a reader of the table should know."""
    if alignment is None and not joined and tables_beside(path):
        logger.warning(
            "%s: no poses (alignments3D, alignments_class_K, alignments3D_multi); %s.", path, _other_table(path)
        )
    if alignment is not None and alignment.slots != (MAIN,):
        slots = " … ".join(dict.fromkeys((alignment.slots[0], alignment.slots[-1])))
        logger.warning(
            "%s: poses are per class (%s): each particle takes that of its most probable class (class_posterior).",
            path,
            slots,
        )
    told_of_cryosparc(rows, path)


def _contrast(path: str | os.PathLike, rows: np.ndarray) -> int:
    """Return blob/sign, which must be one for all particles; 0 where the table does not say."""
    if "blob/sign" not in names_of(rows) or len(rows) == 0:
        return 0
    signs, counts = np.unique(np.sign(np.nan_to_num(rows["blob/sign"])), return_counts=True)
    if len(signs) > 1:
        found = ", ".join(f"{sign:g} for {count}" for sign, count in zip(signs, counts, strict=True))
        raise DataError(
            f"{path}: blob/sign (-1 dark, 1 white) is {found} particles; expected one contrast; "
            f"export the particles of each, or invert the images of one."
        )
    return int(signs[0])


def _half_set(path: str | os.PathLike, alignment: Alignment | None) -> Integer[np.ndarray, "particles"] | None:
    """Return the half-set, 0 or 1, of all particles; None where the table gives it to none."""
    if alignment is None or alignment.split is None:
        return None
    known = np.isin(alignment.split, (0, 1))
    if known.all() or not known.any():
        return alignment.split.astype(np.int64) if known.any() else None
    row = int(np.argmin(known))
    raise DataError(
        f"{path}: {alignment.slots[0]}/split of particle {row + 1} is {alignment.split[row]} ({int((~known).sum())} of "
        f"{len(known)} such); expected 0 or 1; split the particles again in cryoSPARC, or leave these out."
    )


def read_ctf(rows: Shaped[np.ndarray, "particles"], path: str | os.PathLike) -> CTFParams | None:
    """Return the CTF (N,), or None when the table has none or only part of one."""
    found = {column.field: rows[column.cs] for column in CTF_COLUMNS if column.cs in names_of(rows)}
    without = lacking(found)
    if without and found.keys() & {"defocus_u", "defocus_v"}:
        logger.warning("%s: defocus without %s: the CTF is left out.", path, without[0].cs)
    return None if without else ctf_of_columns(found)
