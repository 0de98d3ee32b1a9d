"""Maps on a grid (z, y, x): .mrc, .map (also .gz) and EMAN2 .hdf."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float, Real

from libhetero.errors import DataError
from libhetero.io import hdf, mrc, mrc_map
from libhetero.io.pixel_size import check_pixel_size


def read_volume(
    path: str | os.PathLike, pixel_size: float | None = None, remedy: str = "give it in Å with --apix"
) -> tuple[Float[np.ndarray, "z y x"], float]:
    """Read a map.

    Parameters
    ----------
    path : .mrc, .map, .mrc.gz, .map.gz or .hdf.
    pixel_size : Å, overrides the header; None takes the header's.
    remedy : what to do where neither knows it.

    Returns
    -------
    volume : float32 (z, y, x).
    pixel_size : Å.

    Raises
    ------
    DataError : if the file is no map of finite numbers, or neither header nor caller knows the pixel size.
    """
    check_pixel_size(pixel_size)
    reader = hdf.read_map if hdf.is_hdf(path) else mrc_map.read_map
    volume, found = reader(path)
    size = found if pixel_size is None else pixel_size
    if size <= 0:
        raise DataError(f"{path}: the header holds no pixel size; {remedy}.")
    if not np.isfinite(volume).all():
        raise DataError(
            f"{path}: {int((~np.isfinite(volume)).sum())} voxels are not finite (NaN); expected numbers. "
            "Write the map again."
        )
    return volume, float(size)


def particles_in_map(path: str | os.PathLike) -> int | None:
    """Return how many particles a map says that it was made of; None where it does not.

    Our maps say it: an .hdf as EMAN2's do (ptcl_repr), an MRC file in a label, "2000 particles".
    """
    return hdf.particles_in_map(path) if hdf.is_hdf(path) else mrc_map.particles_in_map(path)


def write_volume(
    path: str | os.PathLike,
    volume: Real[np.ndarray, "*axes"],
    pixel_size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    particles: int | None = None,
) -> None:
    """Write a map by suffix, .hdf for EMAN2, else MRC.

    Parameters
    ----------
    path : .mrc, .map or .hdf to make.
    volume : with axes (z, y, x), written as float32.
    pixel_size : Å.
    origin : (x, y, z) of the first voxel in Å for programs that look at it, as a map cut out of a larger
        one needs; reading ignores it.
    particles : how many it was made of, kept in the header; None to say nothing.
    """
    volume = np.asarray(volume, np.float32)
    if volume.ndim != 3:
        raise DataError(f"{path}: a map has three axes; found an array of shape {volume.shape}.")
    writer = hdf.write_map if hdf.is_hdf(path) else mrc.write_map
    writer(path, volume, pixel_size, origin, particles)
