"""A table of Fourier shell correlations: a row per shell, for any program that reads columns."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from libhetero.files import replacing


def write_fsc(path: str | os.PathLike, curves: Mapping[str, Float[np.ndarray, "shells"]], pixel_size: float) -> None:
    """Write the spatial frequency of every shell in 1/Å, then the value of every curve.

    Parameters
    ----------
    path : text file to make; its first line names the columns.
    curves : name and values of each, shell i at i / n cycles per voxel.
    pixel_size : Å.

    Raises
    ------
    DataError : if it cannot be written.
    """
    shells = len(next(iter(curves.values())))
    frequency = np.arange(shells) / (2 * shells * pixel_size)
    header = "  ".join(["spatial frequency (1/A)", *curves])
    with replacing(path) as beside:
        np.savetxt(beside, np.column_stack([frequency, *curves.values()]), fmt="%.6f", header=header, encoding="utf-8")
