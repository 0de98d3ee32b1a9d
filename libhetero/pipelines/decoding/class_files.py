"""Classes of particles as files: a table of index and class, and a particle list for each class."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.classes import class_members, kmeans_classes
from libhetero.configuration.limits import MOST_CLASSES
from libhetero.errors import DataError
from libhetero.files import remove_stale, replacing
from libhetero.io.indices import check_indices
from libhetero.io.tables import read_numbers
from libhetero.io.tilt_series import particle_names
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.decoding.particle_findings import particles_as_found
from libhetero.pipelines.listing.writing import LIST_ENDINGS, write_lists
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.list_digest import LONGEST, is_of_list, list_digest
from libhetero.pipelines.run.particles import listed_particles
from libhetero.records import ParticleSet
from libhetero.tilts import one_image_each

LOGGER = logging.getLogger(__name__)
COLUMNS = "particle index, class and, where it is known, the probability of the class"
OWN_CLASSES = "classes.txt"  # of an evaluation, by which its volumes are
SERIES_ENDING = "_particles.txt"  # of the particles of tilt series in a class, by name
PROBABILITIES = "particle index and the probability of each class"
PROBABILITIES_OF = "# particle, probability of each class; of list "  # as `OF_LIST`
OF_LIST = "# particle, class; of list "  # the first line of a table, before the digest of the list that it is of


def read_classes(path: str | Path, count: int, digest: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Read particle indices and the class of each; -1 is no class.

    Parameters
    ----------
    path : text file of two or three columns, as `write_classes` makes it.
    count : particles there are.
    digest : of their list; a file that says it is of another is refused. None to take it as it is.

    Raises
    ------
    DataError : if there is no such table, it names a particle twice, or it is of another list.
    ConfigurationError : if it names a particle that there is not.
    """
    table = read_numbers(path, COLUMNS, least=2, most=3, whole=(0, 1), rows=10 * count + 100)
    _check_list(path, digest)
    index = check_indices(table[:, 0], count, str(path))
    named, times = np.unique(index, return_counts=True)
    if times.max() > 1:
        raise DataError(
            f"{path}: names particle {named[times.argmax()]} {times.max()} times; expected once, with its class."
        )
    return index, table[:, 1].astype(np.int64)


def _check_list(path: str | Path, digest: str | None, begins: str = OF_LIST) -> None:
    """Refuse a table of classes that says it is of another list of particles."""
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline(len(begins) + LONGEST)
    if digest is not None and first.startswith(begins) and not is_of_list(first.removeprefix(begins), digest):
        raise DataError(
            f"{path}: its classes are of another list of particles than the one given: others, or in another order. "
            "Give the list or the run that they were made for, or sort the particles anew."
        )


def classes_of_all(path: str | Path, particles: ParticleSet) -> Int[np.ndarray, "particles"]:
    """Return the class of each particle from a file; -1 for those it leaves out, which may be all.

    Raises
    ------
    DataError, ConfigurationError : as `read_classes`.
    """
    index, read = read_classes(path, len(particles), list_digest(particles))
    label = np.full(len(particles), -1)
    label[index] = read
    return label


def whole_classes(path: str | Path, particles: ParticleSet) -> Int[np.ndarray, "particles"]:
    """Return the class of each particle from a file; -1 for those it leaves out.

    Raises
    ------
    DataError : as `read_classes`, or if no particle is in a class.
    ConfigurationError : as `read_classes`.
    """
    label = classes_of_all(path, particles)
    if not (label >= 0).any():
        raise DataError(f"{path}: no particle is in a class; expected classes from 0.")
    return label


def write_probabilities(path: Path, probabilities: Float[np.ndarray, "particles classes"], digest: str) -> None:
    """Write particle index and the probability of each class, a line each.

    Parameters
    ----------
    digest : of the particles' list (`list_digest`).
    """
    with replacing(path) as beside:
        table = np.column_stack([np.arange(len(probabilities)), probabilities])
        formats = ["%d", *["%.5f"] * probabilities.shape[1]]
        np.savetxt(beside, table, fmt=formats, header=PROBABILITIES_OF[2:] + digest)


def whole_probabilities(path: str | Path, particles: ParticleSet) -> Float[np.ndarray, "particles classes"]:
    """Return the probability of each class for each particle, from a file; 0 for particles that it leaves out.

    Raises
    ------
    DataError : if there is no such table, a number is no probability, a particle is named twice, or it is of another
        list.
    ConfigurationError : if it names a particle that there is not.
    """
    count = len(particles)
    table = read_numbers(path, PROBABILITIES, least=2, most=MOST_CLASSES, whole=(0,), rows=10 * count + 100)
    _check_list(path, list_digest(particles), PROBABILITIES_OF)
    index, found = check_indices(table[:, 0], count, str(path)), table[:, 1:]
    if len(np.unique(index)) < len(index):
        raise DataError(f"{path}: names a particle twice; expected each once, with its probabilities.")
    if found.min() < 0 or found.max() > 1:
        wrong = float(found.flat[np.argmax((found < 0) | (found > 1))])
        raise DataError(f"{path}: holds {wrong:g}; expected probabilities, 0 to 1.")
    whole = np.zeros((count, found.shape[1]), np.float32)
    whole[index] = found
    return whole


def classes_by_kmeans(run: Run, count: int, seed: int, batch_size: int) -> Int[np.ndarray, "particles"]:
    """Sort all particles of a run by k-means of their latents, and write the classes into the run folder.

    Images of one particle have its class.

    Parameters
    ----------
    count : classes.
    seed : of k-means.
    batch_size : particles encoded at once.
    """
    first, shown = one_image_each(run.particles)
    label = kmeans_classes(particle_latents(run, batch_size)[first], count, seed)[shown]
    path = run.folder / f"classes_{count:02d}.txt"
    write_classes(path, np.arange(len(label)), label, list_digest(run.particles))
    LOGGER.info("wrote %s", path)
    return label


def write_own_classes(folder: Path, run: Run, label: Int[np.ndarray, "particles"] | None) -> None:
    """Write the classes that an evaluation sorts the particles into beside their volumes; None: there are no such."""
    if label is None:
        remove_stale(folder, OWN_CLASSES)
    else:
        write_classes(folder / OWN_CLASSES, np.arange(len(label)), label, list_digest(run.particles))


def write_classes(
    path: Path, index: np.ndarray, label: np.ndarray, digest: str | None = None, probability: np.ndarray | None = None
) -> None:
    """Write particle index and class, one line each; -1 for particles in no class.

    Parameters
    ----------
    probability : of the class being the particle's, a third column; None for none.
    digest : of the particles' list (`list_digest`), for the comment that the file begins with; None for no comment.
    """
    header = "" if digest is None else OF_LIST[2:] + digest
    with replacing(path) as beside:
        columns, formats = [index, label], ["%d", "%d"]
        if probability is not None:
            columns, formats = [*columns, probability], [*formats, "%.4f"]
        np.savetxt(beside, np.column_stack(columns), fmt=formats, header=header)


def class_names(label: Int[np.ndarray, "particles"], stem: str = "class") -> dict[int, str]:
    """Return a file name for each class but -1, class_00 … of as many digits as the last one needs."""
    digits = max(2, len(str(int(label.max(initial=0)))))
    return {one: f"{stem}_{one:0{digits}d}" for one in class_members(label)}


def remove_class_files(folder: Path, stem: str, *endings: str) -> None:
    """Remove what an earlier call left of the classes: STEM_NN with any of the endings, ".lst" …"""
    remove_stale(folder, *(f"{stem}_[0-9]*{ending}" for ending in endings))


def write_class_lists(run: Run, label: Int[np.ndarray, "particles"], stem: str) -> int:
    """Write the particles of each class into the run folder, STEM_NN.lst and .star (of a .cs, .cs); return how many.

    Where the run has estimated them, the lists carry each particle's contrast and probability of being junk.
    A .star is left out, with a warning, where the images lie in .hdf stacks, which RELION cannot open.

    Parameters
    ----------
    label : class of every particle of the run; -1 for none.
    stem : what the names start with; lists of such names from before are removed.
    """
    particles = listed_particles(particles_as_found(run), run.config.data)
    write_lists_of_classes(run.folder, particles, label, stem)
    return len(class_members(label))


def write_lists_of_classes(
    folder: Path, particles: ParticleSet, label: Int[np.ndarray, "particles"], stem: str
) -> list[str]:
    """Write the particles of each class, STEM_NN.lst and .star, of a .cs that too, in the place of earlier ones.

    Of tilt series STEM_NN_particles.txt, too: the particles by name, a line each.

    Returns the endings of the formats that hold all of them.

    Parameters
    ----------
    particles : as lists should name them.
    label : class of each; -1 for none.
    stem : what the names start with.
    """
    remove_class_files(folder, stem, *LIST_ENDINGS, SERIES_ENDING)
    names, members = class_names(label, stem), class_members(label)
    if particles.group is not None:
        write_series_names(folder, particles, {name: members[one] for one, name in names.items()})
    return write_lists(folder, {name: particles.take(members[one]) for one, name in names.items()})


def write_series_names(folder: Path, particles: ParticleSet, members: dict[str, Int[np.ndarray, "_"]]) -> None:
    """Write NAME_particles.txt of images of tilt series: their particles, a name a line, as the list they came from has
    it.

    Parameters
    ----------
    particles : tilt series, as lists should name them.
    members : places of images, by NAME.
    """
    called = np.array(particle_names(particles), object)
    for name, places in members.items():
        with replacing(folder / f"{name}{SERIES_ENDING}") as beside, open(beside, "w", encoding="utf-8") as file:
            file.writelines(f"{one}\n" for one in dict.fromkeys(called[places]))
