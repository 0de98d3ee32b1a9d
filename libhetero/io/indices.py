"""Which particles of a list, as files say it: numbers from 0, or one truth value for each particle.

cryoDRGN keeps them in a .pkl, an array or a list (`libhetero.io.pickled`). Plain text has one number a line; as many
lines as the list has particles, each of them 0 or 1, are truth values. `#` begins a comment.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from libhetero.errors import ConfigurationError, DataError
from libhetero.files import check_readable, replacing
from libhetero.io.pickled import read_pickle
from libhetero.io.tables import read_numbers

PICKLES = (".pkl", ".pickle", ".p", "")
FEWEST_IN_MASK = 3  # 0 and 1 of two particles are both numbers and truth values
LONGEST_NAME = 4096  # letters of a line that may be the name of a stack


def holds_indices(path: str | os.PathLike) -> bool:
    """Return whether a file says which particles, and is no list of particles itself: a .pkl, or a .txt of numbers.

    Raises
    ------
    DataError : if there is no such file.
    """
    ending = Path(path).suffix.lower()
    if ending != ".txt":
        return ending in PICKLES
    check_readable(path)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for line in iter(lambda: file.readline(LONGEST_NAME), ""):
            words = line.partition("#")[0].split()
            if words:
                return words[0].isascii() and words[0].isdigit()
    return True


def read_indices(path: str | os.PathLike, count: int, source: str | os.PathLike) -> Int[np.ndarray, "chosen"]:
    """Return the particles chosen, 0-based.

    Parameters
    ----------
    path : .pkl or .txt of numbers of particles, or of a mask, one truth value for each particle.
    count : particles in the list.
    source : the list, to name it in errors.

    Raises
    ------
    DataError : if they are not whole numbers from 0 to `count` - 1, or the mask is of another length.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".txt", *PICKLES):
        raise DataError(
            f"{path}: expected numbers of particles from 0 in a .txt or .pkl; got '{ending}'. Make such a file with "
            "e2hype_list.py --output NAME.txt."
        )
    values = _of_text(path, count) if ending == ".txt" else _of_pickle(path)
    if values.ndim != 1 or len(values) == 0:
        raise DataError(f"{path}: shape {values.shape}; expected one row of indices, at least one.")
    if values.dtype.kind == "b":
        if len(values) != count:
            raise DataError(
                f"{path}: a mask of {len(values)} values for the {count} particles of {source}; expected as many."
            )
        return np.flatnonzero(values)
    if values.dtype.kind not in "iu":
        raise DataError(f"{path}: holds {values.dtype} values; expected whole numbers (indices).")
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if len(wrong):
        found = values[wrong[0]]
        said = "below 0" if found < 0 else f"beyond the {count} particles of {source}"
        raise DataError(f"{path}: index {found} is {said}; expected 0, for the first particle, to {count - 1}.")
    return values.astype(np.int64)


def _of_text(path: str | os.PathLike, count: int) -> Shaped[np.ndarray, "values"]:
    values = read_numbers(path, "one number of a particle a line, from 0", most=1, whole=(0,))[:, 0].astype(np.int64)
    if len(values) == count >= FEWEST_IN_MASK and np.isin(values, (0, 1)).all():
        return values == 1
    return values


def _of_pickle(path: str | os.PathLike) -> Shaped[np.ndarray, "..."]:
    content = read_pickle(path)
    try:
        return np.asarray(content)
    except (ValueError, TypeError, OverflowError):
        raise DataError(
            f"{path}: expected indices in one array, found {type(content).__name__} of unlike parts; check which file "
            "goes with --poses, --ctf and --ind."
        ) from None


def write_indices(path: str | os.PathLike, indices: Int[np.ndarray, "chosen"], mask_of: int | None = None) -> None:
    """Write the particles chosen, 0-based, as `read_indices` reads them and, of a .pkl, cryoDRGN's programs.

    Parameters
    ----------
    path : .pkl or .txt.
    indices : of the particles.
    mask_of : particles in their list, to write one truth value for each; None for numbers.
    """
    values: Int[np.ndarray, "values"] | Bool[np.ndarray, "values"] = np.asarray(indices)
    if mask_of is not None:
        values = np.zeros(mask_of, bool)
        values[indices] = True
    with replacing(path) as beside:
        if Path(path).suffix.lower() == ".txt":
            np.savetxt(beside, values, fmt="%d")
        else:
            beside.write_bytes(pickle.dumps(values.tolist(), protocol=2))


def check_indices(indices: np.ndarray, count: int, where: str) -> np.ndarray:
    """Return particle indices as integers.

    Parameters
    ----------
    indices : whole numbers.
    count : particles that there are.
    where : they stand, for the message.

    Raises
    ------
    ConfigurationError : if one is outside 0 … count - 1.
    """
    indices = np.asarray(indices, np.int64)
    wrong = indices[(indices < 0) | (indices >= count)]
    if len(wrong):
        raise ConfigurationError(
            f"{where}: there is no particle {wrong[0]}; there are {count}, numbered from 0 to {count - 1}."
        )
    return indices
