"""Reading and writing particle sets, whatever the format."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.io import cryodrgn, cs, hdf_particles, lst, mrc_particles, star, star_writer, txt
from libhetero.io.entries import assemble
from libhetero.records import ParticleSet

READABLE = ".star, .cs, .lst, .hdf, .mrcs, .mrc or .txt"
WRITABLE = ".star, .cs, .lst, .hdf or .mrcs"


def read_particles(
    path: str | os.PathLike,
    *,
    datadir: str | os.PathLike | None = None,
    pixel_size: float | None = None,
    poses: str | os.PathLike | None = None,
    ctf: str | os.PathLike | None = None,
    indices: str | os.PathLike | None = None,
    need_images: bool = True,
) -> ParticleSet:
    """Read particles by the suffix of their list or stack.

    Parameters
    ----------
    path : .star, .cs, .lst, .hdf, .mrcs, .mrc, or .txt (a list of stacks).
    datadir : folder in which to look for stacks first; None for none.
    pixel_size : Å, overrides list and headers; shifts keep their number of pixels.
    poses, ctf, indices : cryoDRGN .pkl files; they take the place of what the list says, and
        `indices` chooses particles. None to do without.
    need_images : False to take a list whose stacks are not at hand.

    Returns
    -------
    ParticleSet of N particles in the order of the list.

    Raises
    ------
    DataError : one line saying what is wrong with the list or a stack.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".star":
        entries = star.read_star(path)
    elif suffix == ".cs":
        entries = cs.read_cs(path)
    elif suffix == ".lst":
        entries = lst.read_lst(path, datadir)
    elif suffix in (".hdf", ".h5"):
        entries = hdf_particles.read_hdf(path)
    elif suffix in (".mrcs", ".mrc", ".st"):
        entries = mrc_particles.read_mrcs(path)
    elif suffix == ".txt":
        entries = txt.read_txt(path, datadir)
    else:
        raise DataError(f"{path}: {_advice(suffix)}")
    tables = cryodrgn.Tables(poses, ctf, indices)
    entries = cryodrgn.override(entries, tables, path)
    particles = assemble(entries, path, datadir, pixel_size, need_images)
    chosen = cryodrgn.choice(tables, len(particles))
    return particles if chosen is None else particles.take(chosen)


def _advice(suffix: str) -> str:
    if suffix == ".pkl":
        return "a .pkl holds no images; give the stack, and this file with --poses, --ctf or --ind."
    return f"'{suffix}' is no particle format; expected {READABLE}."


def write_particles(
    path: str | os.PathLike, particles: ParticleSet, images: Iterable[Float[np.ndarray, "count n n"]] | None = None
) -> None:
    """Write particles by suffix.

    Parameters
    ----------
    path : .star, .cs or .lst, which point at the stacks the set already has; .hdf or .mrcs, which
        hold pixels.
    particles : the set. Columns of a table it was read from are kept.
    images : blocks (count, n, n) in the order of the set, for .hdf and .mrcs; None copies the
        set's own images.

    Raises
    ------
    DataError : if the file cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".star":
        star_writer.write_star(path, particles)
    elif suffix == ".cs":
        cs.write_cs(path, particles)
    elif suffix == ".lst":
        lst.write_lst(path, particles)
    elif suffix in (".hdf", ".h5"):
        hdf_particles.write_hdf(path, particles, images)
    elif suffix in (".mrcs", ".mrc"):
        mrc_particles.write_mrcs(path, particles, images)
    else:
        raise DataError(f"{path}: '{suffix}' cannot be written; expected {WRITABLE}.")
