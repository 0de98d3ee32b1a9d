"""Tables of numbers as text, a row a line, columns apart by white space; what stands after a # is a comment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import TextIO

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import check_readable, first_line

LONGEST_LINE = 2**20  # characters; a hundred latents take 2500
MOST_TOLD = 100  # characters of a reason


def read_number_table(path: str | os.PathLike, expected: str) -> Float[np.ndarray, "rows columns"]:
    """Read a table of at least one row.

    Parameters
    ----------
    path : text file.
    expected : what the columns are, for messages.

    Raises
    ------
    DataError : if this is no file, or no such table: words, rows of unequal length, a line without end, or nothing.
    """
    check_readable(path)
    try:
        # A file by its name would be decompressed by NumPy, whatever it then holds.
        with open(path, encoding="utf-8") as file, warnings.catch_warnings(action="ignore", category=UserWarning):
            table = np.loadtxt(_lines(file, path), ndmin=2)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: not a table of numbers ({first_line(error)[:MOST_TOLD]}); expected {expected}."
        ) from None
    if table.size == 0:
        raise DataError(f"{path}: holds no row; expected {expected}.")
    return table


def _lines(file: TextIO, path: str | os.PathLike) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE:
            raise DataError(f"{path}: line {number} has more than {LONGEST_LINE} characters; not a table of numbers.")
        yield line
