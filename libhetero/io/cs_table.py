"""cryoSPARC tables (.cs) as files: NumPy's record arrays, or CSDAT; neither is unpickled. Tables of one job are joined.

A job writes what it computed into one table, and what it took from its input into others ("passthrough"); `uid` says
which rows belong together.
"""

from __future__ import annotations

import logging
import os
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from libhetero.errors import DataError
from libhetero.files import check_readable
from libhetero.io import csdat
from libhetero.io.cs_columns import EXPORT, check_columns, names_of

logger = logging.getLogger(__name__)

NPY = b"\x93NUMPY"
LONGEST_HEADER = 2**20  # bytes; NumPy evaluates it as a literal. 100 classes of a 3-D classification take 2**15
JOB = re.compile(r"(?<![0-9A-Za-z])J[0-9]+(?![0-9])")
PASSTHROUGH = "passthrough"
NOT_A_TABLE = (  # what NumPy's and Python's parsers raise of a header that is none
    *(ValueError, TypeError, LookupError, OverflowError, SyntaxError, RecursionError, MemoryError, OSError),
    tokenize.TokenError,
)


@dataclass(frozen=True, eq=False)
class CsTable:
    """A .cs file whole: its path, its record array, and the paths of the tables that were joined to it."""

    path: str
    particles: Shaped[np.ndarray, "particles"]
    joined: tuple[str, ...] = ()


def read_table(path: str | os.PathLike, passthrough: Sequence[str | os.PathLike] = ()) -> CsTable:
    """Read a .cs file, with the columns that it lacks from other tables of its job.

    Parameters
    ----------
    path : of the table that says which particles, in which order.
    passthrough : tables that hold the same particles, among others, in any order.

    Raises
    ------
    DataError : if a file is no particle table, its columns are not as they should be, or a particle of the first
        is missing in another.
    """
    rows = _read_rows(path)
    for other in passthrough:
        rows = _joined(rows, path, _read_rows(other), other)
    return CsTable(str(path), rows, tuple(map(str, passthrough)))


def _read_rows(path: str | os.PathLike) -> Shaped[np.ndarray, "particles"]:
    check_readable(path)
    with open(path, "rb") as file:
        start = file.read(64)
    try:
        if start.startswith(NPY):
            rows = _read_npy(path)
        elif start.startswith(csdat.MAGIC):
            rows = csdat.read_csdat(path)
        else:
            raise DataError(
                f"{path}: not a cryoSPARC table: expected NumPy's or CSDAT's mark at its start, got {start[:6]!r}; "
                f"{EXPORT}."
            )
    except NOT_A_TABLE as error:
        said = " ".join(str(error).split())[:100] or type(error).__name__
        reason = "its header describes no table" if "malformed node" in said else said  # in Python's words
        raise DataError(f"{path}: not a cryoSPARC table ({reason}); {EXPORT}.") from None
    check_columns(path, rows)
    return rows


def _read_npy(path: str | os.PathLike) -> Shaped[np.ndarray, "..."]:
    """Return NumPy's array, once its header is known to promise no more than the file holds, and nothing pickled."""
    longest = min(os.path.getsize(path), LONGEST_HEADER)
    mapped = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=longest)
    if mapped.ndim != 1 or mapped.size == 0 or not names_of(mapped):
        return np.zeros(mapped.shape, mapped.dtype) if mapped.size == 0 else np.asarray(mapped)
    dtype, count, offset = mapped.dtype, len(mapped), mapped.offset
    del mapped  # a file that is cut short while it is mapped would end the process
    return np.fromfile(path, dtype, count, offset=offset)


def _joined(rows: np.ndarray, path: str | os.PathLike, others: np.ndarray, other: str | os.PathLike) -> np.ndarray:
    """Return rows with the columns that only the other table has, particle by particle."""
    for name, table in ((path, rows), (other, others)):
        if "uid" not in names_of(table):
            raise DataError(f"{name}: no column uid, by which tables are joined; {EXPORT}.")
        if len(np.unique(table["uid"])) != len(table):
            raise DataError(f"{name}: a uid stands there more than once; expected one a particle; {EXPORT}.")
    order = np.argsort(others["uid"])
    place = np.searchsorted(others["uid"], rows["uid"], sorter=order)
    found = order[np.minimum(place, max(len(others) - 1, 0))] if len(others) else np.zeros(0, int)
    absent = len(rows) if not len(others) else int(np.sum(others["uid"][found] != rows["uid"]))
    if absent:
        raise DataError(f"{other}: lacks {absent} of the {len(rows)} particles of {path}; give the tables of one job.")
    new = [name for name in names_of(others) if name not in names_of(rows)]
    logger.info("%s: %d columns are joined from %s by uid", path, len(new), other)
    return with_columns(rows, {name: others[name][found] for name in new})


def with_columns(rows: Shaped[np.ndarray, "particles"], columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return rows with further columns, which replace those of the same names."""
    kept = [name for name in names_of(rows) if name not in columns]
    kinds = [(name, rows.dtype[name]) for name in kept]
    kinds += [(name, np.dtype((column.dtype, column.shape[1:]))) for name, column in columns.items()]
    wider = np.zeros(len(rows), kinds)
    for name in kept:
        wider[name] = rows[name]
    for name, column in columns.items():
        wider[name] = column
    return wider


def tables_beside(path: str | os.PathLike) -> list[str]:
    """Return up to two tables in the same folder that, by their names, hold the other columns of the same job."""
    path = Path(path)
    job = JOB.search(path.name)
    if job is None or not path.parent.is_dir():
        return []
    primary = PASSTHROUGH in path.name
    names = [other.name for other in sorted(path.parent.glob("*.cs")) if primary != (PASSTHROUGH in other.name)]
    alike = [name for name in names if (found := JOB.search(name)) and found[0] == job[0]]
    return [str(path.with_name(name)) for name in (alike[-1:] if primary else alike[:2])]
