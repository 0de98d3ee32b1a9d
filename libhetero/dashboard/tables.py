"""Text files of numbers that programs write of all particles, read once: kept in memory, and large ones as arrays.

A million latents are a hundred megabytes of text, which takes seconds to read each time a server starts. Such a table
is written again as an array, `RUN/dashboard/cache/NAME.npy`, whose name tells of which state of the text it is.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from libhetero.dashboard.refusals import missing
from libhetero.dashboard.runs import ServedRun, stamp_of
from libhetero.errors import UserError
from libhetero.files import replacing
from libhetero.io.indices import check_indices
from libhetero.io.tables import read_numbers

LOGGER = logging.getLogger(__name__)
LARGE = 4 * 2**20  # bytes of text, above which the array is written, too
LONGEST = 2**16  # letters of the line that tells how many columns there are
EXPECTED = "particle index, from 0, and numbers"


def columns_of(run: ServedRun, path: Path) -> int:
    """Return how many columns a table has after the particle's index, by its first line.

    0 where it is none, or leads out of the run folder.
    """
    if not run.holds(path):
        return 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in iter(lambda: file.readline(LONGEST), ""):
                words = line.partition("#")[0].split()
                if words:
                    return len(words) - 1
    except OSError:
        return 0
    return 0


def is_large(path: Path) -> bool:
    """Return whether reading a table takes longer than a moment."""
    stamp = stamp_of(path)
    return stamp is not None and stamp[2] > LARGE


def read_table(run: ServedRun, path: Path, keep: bool) -> Float[np.ndarray, "particles columns"]:
    """Return the numbers of a table, a row for each particle of the run; NaN for those that it leaves out.

    Parameters
    ----------
    path : of the text.
    keep : whether a large one may be written as an array below the run folder.

    Raises
    ------
    DataError : if it is damaged, or names a particle that the run has not.
    Refusal : if it leads out of the run folder.
    """
    if not run.holds(path):
        raise missing(f"{path.name}: leads out of the run folder")
    return run.kept.get(("table", path), [path], lambda: _table(run, path, keep and is_large(path)))


def _table(run: ServedRun, path: Path, keep: bool) -> Float[np.ndarray, "particles columns"]:
    held = _cache_of(run, path)
    if held is not None and held.is_file():
        try:
            values = np.load(held, allow_pickle=False, mmap_mode="r")
            if values.dtype == np.float32 and values.ndim == 2:
                return values
        except (OSError, ValueError, EOFError):
            LOGGER.debug("%s: damaged", held)
    values = _read(run, path)
    if keep and held is not None:
        try:
            _keep(held, values)
        except (UserError, OSError) as error:  # nothing depends on it
            LOGGER.debug("%s", error)
    return values


def _read(run: ServedRun, path: Path) -> Float[np.ndarray, "particles columns"]:
    rows = read_numbers(path, EXPECTED, least=2, whole=(0,), rows=10 * run.count + 100)
    index = check_indices(rows[:, 0], run.count, str(path))
    values = np.full((run.count, rows.shape[1] - 1), np.nan, np.float32)
    values[index] = rows[:, 1:]
    return values


def _cache_of(run: ServedRun, path: Path) -> Path | None:
    """Return where the array of a table lies in its present state."""
    stamp = stamp_of(path)
    if stamp is None:
        return None
    name = "_".join(path.relative_to(run.folder).with_suffix("").parts)
    return run.own_folder("dashboard", "cache") / f"{name}-{stamp[1]:x}-{stamp[2]:x}.npy"


def _keep(held: Path, values: Float[np.ndarray, "particles columns"]) -> None:
    """Write the array, and remove those of earlier states."""
    held.parent.mkdir(parents=True, exist_ok=True)
    with replacing(held) as beside:
        np.save(beside, values)
    for old in held.parent.glob(f"{held.name.rsplit('-', 2)[0]}-*.npy"):
        if old != held:
            old.unlink(missing_ok=True)
