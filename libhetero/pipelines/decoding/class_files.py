"""Classes of particles as files: a table of index and class, and a particle list for each class."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Int

from libhetero.analysis.classes import class_members, kmeans_classes
from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.pipelines.decoding.latents import check_indices, particle_latents
from libhetero.pipelines.listing.writing import LIST_ENDINGS, write_lists
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.particles import listed_particles

LOGGER = logging.getLogger(__name__)


def read_classes(path: str | Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Read particle indices and the class of each; -1 is no class.

    Parameters
    ----------
    path : text file of two columns, as `write_classes` makes it.
    count : particles there are.

    Raises
    ------
    DataError : if there is no such table, or it names a particle twice.
    ConfigurationError : if it names a particle that there is not.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an empty file
            table = np.loadtxt(path, ndmin=2)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected particle index and class.") from None
    except ValueError as error:
        raise DataError(f"{path}: not a table of numbers ({error}).") from None
    if table.shape[1] != 2:
        found = f"{table.shape[1]} columns" if table.size else "empty"
        raise DataError(f"{path}: {found}; expected particle index and class.")
    if not np.array_equal(table, np.rint(table)):
        raise DataError(f"{path}: holds numbers that are not whole; expected particle index and class.")
    index = check_indices(table[:, 0], count, str(path))
    named, times = np.unique(index, return_counts=True)
    if times.max() > 1:
        raise DataError(
            f"{path}: names particle {named[times.argmax()]} {times.max()} times; expected once, with its class."
        )
    return index, table[:, 1].astype(np.int64)


def whole_classes(path: str | Path, count: int) -> Int[np.ndarray, "particles"]:
    """Return the class of each of `count` particles from a file; -1 for those it leaves out.

    Raises
    ------
    DataError : as `read_classes`, or if no particle is in a class.
    ConfigurationError : as `read_classes`.
    """
    index, read = read_classes(path, count)
    label = np.full(count, -1)
    label[index] = read
    if not (label >= 0).any():
        raise DataError(f"{path}: no particle is in a class; expected classes from 0.")
    return label


def classes_by_kmeans(run: Run, count: int, seed: int, batch_size: int) -> Int[np.ndarray, "particles"]:
    """Sort all particles of a run by k-means of their latents, and write the classes into the run folder.

    Parameters
    ----------
    count : classes.
    seed : of k-means.
    batch_size : particles encoded at once.
    """
    label = kmeans_classes(particle_latents(run, batch_size), count, seed)
    path = run.folder / f"classes_{count:02d}.txt"
    write_classes(path, np.arange(len(label)), label)
    LOGGER.info("wrote %s", path)
    return label


def write_classes(path: Path, index: np.ndarray, label: np.ndarray) -> None:
    """Write particle index and class, one line each; -1 for particles in no class."""
    with replacing(path) as beside:
        np.savetxt(beside, np.column_stack([index, label]), fmt="%d")


def class_names(label: Int[np.ndarray, "particles"], stem: str = "class") -> dict[int, str]:
    """Return a file name for each class but -1, class_00 … of as many digits as the last one needs."""
    digits = max(2, len(str(int(label.max(initial=0)))))
    return {one: f"{stem}_{one:0{digits}d}" for one in class_members(label)}


def remove_class_files(folder: Path, stem: str, *endings: str) -> None:
    """Remove what an earlier call left of the classes: STEM_NN with any of the endings, ".lst" …"""
    for ending in endings:
        for stale in folder.glob(f"{stem}_[0-9]*{ending}"):
            stale.unlink()


def write_class_lists(run: Run, label: Int[np.ndarray, "particles"], stem: str) -> int:
    """Write the particles of each class into the run folder, STEM_NN.lst and .star; return how many.

    A .star is left out, with a warning, where the images lie in .hdf stacks, which RELION cannot open.

    Parameters
    ----------
    label : class of every particle of the run; -1 for none.
    stem : what the names start with; lists of such names from before are removed.
    """
    remove_class_files(run.folder, stem, *LIST_ENDINGS)
    particles = listed_particles(run.particles, run.config.data)
    names, members = class_names(label, stem), class_members(label)
    write_lists(run.folder, {name: particles.take(members[one]) for one, name in names.items()})
    return len(names)
