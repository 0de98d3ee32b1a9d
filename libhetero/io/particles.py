"""Reading and writing particle sets, whatever the format: the table of formats, and what goes by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.io import cryodrgn, cs, cs_writer, hdf_particles, lst, mrc_particles, star, star_writer, txt
from libhetero.io.entries import Entries, assemble
from libhetero.io.kinds import kind_of
from libhetero.io.pixel_size import check_pixel_size
from libhetero.records import ParticleSet


@dataclass(frozen=True)
class ParticleFormat:
    """A format of particles in files, as its own module reads and writes it.

    Parameters
    ----------
    suffixes : of its files, in lower case.
    read : gives what a file says: read(path), or read(path, datadir) where it opens the stacks it names.
    write : write(path, particles), or write(path, particles, images) where it holds pixels; None where
        there is nothing to write it with.
    opens_stacks : whether the reader opens stacks, for what the list leaves to their headers.
    holds_pixels : whether the images are in the file itself.
    """

    suffixes: tuple[str, ...]
    read: Callable[..., Entries]
    write: Callable[..., None] | None
    opens_stacks: bool = False
    holds_pixels: bool = False


FORMATS = (
    ParticleFormat((".star",), star.read_star, star_writer.write_star),
    ParticleFormat((".cs",), cs.read_cs, cs_writer.write_cs),
    ParticleFormat((".lst",), lst.read_lst, lst.write_lst, opens_stacks=True),
    ParticleFormat((".txt",), txt.read_txt, None, opens_stacks=True),
    ParticleFormat((".hdf", ".h5"), hdf_particles.read_hdf, hdf_particles.write_hdf, holds_pixels=True),
    ParticleFormat((".mrcs", ".mrc"), mrc_particles.read_mrcs, mrc_particles.write_mrcs, holds_pixels=True),
    ParticleFormat((".st",), mrc_particles.read_mrcs, None, holds_pixels=True),
)


def read_particles(
    path: str | os.PathLike,
    *,
    datadir: str | os.PathLike | None = None,
    pixel_size: float | None = None,
    poses: str | os.PathLike | None = None,
    ctf: str | os.PathLike | None = None,
    indices: str | os.PathLike | None = None,
    passthrough: Sequence[str | os.PathLike] = (),
    need_images: bool = True,
) -> ParticleSet:
    """Read particles by the suffix of their list or stack.

    Parameters
    ----------
    path : of one of the `FORMATS`; a .txt is a list of stacks.
    datadir : folder in which to look for stacks first; None for none.
    pixel_size : Å, overrides list and headers; shifts keep their number of pixels.
    poses, ctf : cryoDRGN .pkl files, which take the place of what the list says; None to do without.
    indices : .pkl or .txt that says which particles (`libhetero.io.indices`); None for all.
    passthrough : other tables of the job that wrote a .cs, with the columns it lacks.
    need_images : False to take a list whose stacks are not at hand.

    Returns
    -------
    ParticleSet of N particles in the order of the list.

    Raises
    ------
    DataError : one line saying what is wrong with the list or a stack.
    """
    check_pixel_size(pixel_size)
    suffix, found = _format_of(path)
    if found is None:
        raise DataError(f"{path}: {_advice(suffix, path)}")
    if passthrough and found.read is not cs.read_cs:
        raise DataError(f"{path}: --passthrough joins tables of cryoSPARC; expected a .cs, got {suffix}. Leave it out.")
    if passthrough:
        entries = cs.read_cs(path, passthrough)
    else:
        entries = found.read(path, datadir) if found.opens_stacks else found.read(path)
    tables = cryodrgn.Tables(poses, ctf, indices)
    entries = cryodrgn.override(entries, tables, path)
    particles = assemble(entries, path, datadir, pixel_size, need_images)
    chosen = cryodrgn.choice(tables, len(particles), path)
    return particles if chosen is None else particles.take(chosen)


def _format_of(path: str | os.PathLike) -> tuple[str, ParticleFormat | None]:
    """Return a file's suffix and its format, None for one that is not known."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix, next((known for known in FORMATS if suffix in known.suffixes), None)


def _listed(formats: Iterable[ParticleFormat]) -> str:
    *others, last = (suffix for known in formats for suffix in known.suffixes)
    return f"{', '.join(others)} or {last}"


def _advice(suffix: str, path: str | os.PathLike) -> str:
    if suffix == ".pkl":
        return "a .pkl holds no images; give the stack, and this file with --poses, --ctf or --ind."
    if os.path.isdir(path):
        return "a folder; expected a list or a stack of particles in it. Of a run it is ptcls_00.lst."
    kind = kind_of(path)
    if kind is not None:
        return f"{kind}; expected particles, a file in {_listed(FORMATS)}."
    return f"'{suffix}' is no particle format; expected {_listed(FORMATS)}."


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
    suffix, found = _format_of(path)
    if found is None or found.write is None:
        writable = _listed(known for known in FORMATS if known.write is not None)
        raise DataError(f"{path}: '{suffix}' cannot be written; expected {writable}.")
    if found.holds_pixels:
        found.write(path, particles, images)
    else:
        found.write(path, particles)
