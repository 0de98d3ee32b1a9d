"""Tables of numbers in text files, one row a line: the one reader of all of them.

`#` begins a comment. What is not a finite number in ASCII letters, a line of another length and a file that is no
text are told by the line they stand in; only files are opened, and none is unpacked or fetched.
"""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Iterator
from typing import TextIO

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import check_readable
from libhetero.io.kinds import kind_of

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LONGEST_LINE = 2**20  # letters; a hundred latents take 2500
NOT_PLAIN = re.compile(rb"\0|true|false", re.IGNORECASE)  # what ends a text, and is a number, for some readers
SHOWN = 40  # letters of a cell that is no number
WHOLE = 2.0**53  # whole numbers are exact below
LARGE = 2**20  # bytes from which a file is first tried by a reader that is faster, and tells less of what is wrong


def read_numbers(
    path: str | os.PathLike,
    expected: str,
    *,
    least: int = 1,
    most: int | None = None,
    whole: tuple[int, ...] = (),
    rows: int | None = None,
) -> Float[np.ndarray, "rows columns"]:
    """Read a table of finite numbers.

    Parameters
    ----------
    expected : what a line holds, for the messages: "particle index and class".
    least, most : columns; None for any number above.
    whole : columns that hold whole numbers.
    rows : most that there may be; None for any number.

    Raises
    ------
    DataError : if the file is missing or is no such table, naming the line.
    """
    check_readable(path)
    most_rows = None if rows is None else rows + 1
    quick = _quickly(path, most_rows) if os.stat(path).st_size >= LARGE else None
    try:
        table = _line_by_line(path, most_rows) if quick is None else quick
    except (ValueError, OverflowError, MemoryError) as error:
        raise _wrong_line(path, expected, str(error)) from None
    if table.size == 0:
        raise DataError(f"{path}: empty, or comments alone; expected {expected}.")
    if not least <= table.shape[1] <= (most or table.shape[1]):
        count = f"{table.shape[1]} column{'s' * (table.shape[1] > 1)}"
        raise DataError(f"{path}: {count}; expected {expected}.")
    if rows is not None and len(table) > rows:
        raise DataError(f"{path}: more than {rows} rows; expected {expected}, a row each.")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise DataError(f"{path}: row {row + 1} holds a number that is not finite; expected {expected}.")
    numbers = table[:, whole]
    if not (np.array_equal(numbers, np.rint(numbers)) and np.all(np.abs(numbers) < WHOLE)):
        row = int(np.flatnonzero(((numbers != np.rint(numbers)) | (np.abs(numbers) >= WHOLE)).any(axis=1))[0])
        raise DataError(f"{path}: row {row + 1} holds numbers that are not whole; expected {expected}.")
    return table


def check_list_order(
    path: str | os.PathLike, table: Float[np.ndarray, "rows columns"], count: int, remedy: str
) -> None:
    """Refuse a table whose first column is not the numbers of the particles of a list, all of them in order.

    Parameters
    ----------
    count : particles of the list.
    remedy : sentence that the message ends with.

    Raises
    ------
    DataError : saying of which particles it is.
    """
    if not np.array_equal(table[:, 0], np.arange(count)):
        raise DataError(
            f"{path}: {len(table)} particles, from {table[0, 0]:.0f} to {table[-1, 0]:.0f}; expected {count} from 0 "
            f"in their order. {remedy}"
        )


def _line_by_line(path: str | os.PathLike, rows: int | None) -> Float[np.ndarray, "rows columns"]:
    """Return the table, whatever it holds that is a number, or raise what is wrong with it."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file without a row
        return np.loadtxt(_lines(file, path), ndmin=2, max_rows=rows)


def _quickly(path: str | os.PathLike, rows: int | None) -> Float[np.ndarray, "rows columns"] | None:
    """Return the table as pandas reads it, to the last bit the same; None where it is not plainly one of numbers.

    Then `_line_by_line` reads it, and tells what is wrong with it.
    """
    if not _is_plain(path):
        return None
    import pandas as pd

    try:
        with open(path, encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The 'float_precision' argument is deprecated"
            )  # its default is not exact
            frame = pd.read_csv(
                file,
                sep=r"\s+",
                header=None,
                comment="#",
                dtype=np.float64,
                float_precision="round_trip",
                na_filter=False,
                quoting=csv.QUOTE_NONE,
                nrows=rows,
            )
    except (ValueError, TypeError, OverflowError, MemoryError):  # a later pandas may not take these arguments
        return None
    table = np.ascontiguousarray(frame.to_numpy())
    return table if table.size and np.isfinite(table).all() else None


def _is_plain(path: str | os.PathLike) -> bool:
    """Return whether a file has no line as long as `LONGEST_LINE`, and none of `NOT_PLAIN`."""
    size, end = LONGEST_LINE // 2, b""  # a line that is too long fills one block or more
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(size), b""):
            if (len(block) == size and b"\n" not in block) or NOT_PLAIN.search(end + block):
                return False
            end = block[-8:]
    return True


def _lines(file: TextIO, path: str | os.PathLike) -> Iterator[str]:
    """Yield the lines of a file, none of them without end."""
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE:
            raise DataError(f"{path}: line {number} has more than {LONGEST_LINE} letters; not a table of numbers.")
        yield line


def _wrong_line(path: str | os.PathLike, expected: str, reason: str) -> DataError:
    """Return the refusal of a file that is no table, by its first line that is not as the ones before."""
    width, kind = 0, kind_of(path)
    if kind is not None and "numbers" not in kind:
        return DataError(f"{path}: {kind}, so not a table of numbers; expected {expected}.")
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            cells = line.partition("#")[0].split()
            wrong = next((cell for cell in cells if not NUMBER.fullmatch(cell)), None)
            if wrong is not None:
                shown = wrong if len(wrong) <= SHOWN else f"{wrong[:SHOWN]}…"
                return DataError(
                    f"{path}: line {number}: {shown!r} is not a number, so not a table of numbers; expected {expected}."
                )
            if cells and width and len(cells) != width:
                return DataError(
                    f"{path}: line {number}: {len(cells)} numbers after lines of {width}; expected {expected}."
                )
            width = len(cells) or width
    return DataError(f"{path}: not a table of numbers ({reason[:200]}); expected {expected}.")
