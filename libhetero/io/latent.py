"""Latent coordinates as EMAN2 text (`mid` files): index of the particle, then its latents."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.tables import WHOLE, read_numbers


def read_latent(path: str | os.PathLike) -> tuple[Int[np.ndarray, "particles"], Float[np.ndarray, "particles latent"]]:
    """Read latents; a first column of whole, distinct numbers ≥ 0 is the particle index.

    Returns
    -------
    index : 0, 1, … when the file has no index column.
    latent : float64.

    Raises
    ------
    DataError : if it is missing or is no table of finite numbers, naming the line.
    """
    table = read_numbers(path, "particle index and latent")
    first = table[:, 0]
    whole = np.all(first == np.round(first)) and np.all((first >= 0) & (first < WHOLE))
    if table.shape[1] > 1 and whole and len(np.unique(first)) == len(first):
        return first.astype(np.int64), table[:, 1:]
    return np.arange(len(table)), table


def write_latent(
    path: str | os.PathLike,
    index: Sequence[int] | Int[np.ndarray, "particles"],
    latent: Float[np.ndarray, "rows latent"],
) -> None:
    """Write index column and latents, the one layout that all of EMAN2's programs read.

    Parameters
    ----------
    path : text file to make.
    index : place of each particle in its list, 0-based.
    latent : as many rows.
    """
    latent = np.asarray(latent, np.float64)
    if len(index) != len(latent):
        raise DataError(f"{path}: {len(index)} indices for {len(latent)} latents; expected as many.")
    table = np.column_stack([np.asarray(index, np.float64), latent])
    with replacing(path) as beside:
        np.savetxt(beside, table, fmt="%.18e")
