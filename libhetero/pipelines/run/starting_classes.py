"""The classes that a run begins with in place of a search: those of a folder of e2hype_classify.py, by the images.

The list of the run may be the one that was classified, the same in another order or at refined poses, or particles of
it: particles are told by stack and image, as the record of the folder has them (`particle_record`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from libhetero.configuration import named, read_document
from libhetero.errors import ConfigurationError, DataError
from libhetero.io.particle_findings import read_findings
from libhetero.io.pose_changes import at_given_poses
from libhetero.models.hype.latent.class_search import LEAST_PARTICLES
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.pipelines.classifying.record import (
    AT_REFINED,
    CLASSES,
    PARTICLES,
    PARTS,
    RECORD,
    ClassificationRecord,
    is_classification,
)
from libhetero.pipelines.classifying.search import known_of
from libhetero.pipelines.decoding.class_files import read_classes
from libhetero.pipelines.listing.table_columns import rows_of_record
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.list_digest import images_digest
from libhetero.pipelines.run.moved import where_it_lies
from libhetero.pipelines.run.particle_record import ParticleRecord, record_of
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.run.seen import changed, seen
from libhetero.records import ParticleSet
from libhetero.tilts import distinct_among, one_image_each

LOGGER = logging.getLogger(__name__)
AGAIN = "Classify the particles again (e2hype_classify.py)."


@dataclass(frozen=True, eq=False)
class _Classified:
    """A classification, read without its list where it has a record of its particles.

    Parameters
    ----------
    folder : where it lies.
    about : its `classification.json`.
    record : which particles.
    """

    folder: Path
    about: ClassificationRecord
    record: ParticleRecord

    def classes(self, name: str) -> Int[np.ndarray, "images"]:
        """Return what one of its tables of classes says of each image, -1 for none."""
        count, record = len(self.record.file_id), self.record
        digest = images_digest(record.names, record.file_id, record.image_index)
        index, found = read_classes(self.folder / name, count, digest)
        if len(index) < count:
            raise DataError(f"{self.folder / name}: tells of {len(index)} of {count} images; expected all. {AGAIN}")
        label = np.full(count, -1)
        label[index] = found
        return label

    def known(self) -> KnownClasses:
        """Return what it says of each image of its list."""
        label = self.classes(CLASSES)
        part = self.classes(PARTS) if self.about.parts else np.where(label < 0, -1, 0)
        if ((part < 0) != (label < 0)).any():
            raise DataError(f"{self.folder / PARTS}: has others in no class than {CLASSES} has. {AGAIN}")
        findings = read_findings(self.folder / PARTICLES, len(label), AGAIN)
        return known_of(label, part, findings, self.about.contrast_spread)


def starting_classes(data: DataConfig, particles: ParticleSet) -> KnownClasses | None:
    """Return the classes of all images of a list that a run is to begin with; None where it is to search for them.

    Raises
    ------
    ConfigurationError : if the folder that was named holds no classification.
    DataError : if a file in it is missing or damaged, it is of other particles, or hardly one is in a class.
    """
    if data.classes is None:
        return None
    found = _opened(Path(data.classes))
    rows = _rows(found.record, particles, data)
    known = _of_particles(particles, found.known().take(rows), data)
    inside = distinct_among(particles, np.flatnonzero(known.label >= 0))
    if inside < LEAST_PARTICLES:
        raise DataError(
            f"{data.classes}: {inside} of {particles.distinct} particles of {data.particles} are in a class; expected "
            f"at least {LEAST_PARTICLES}. Give a list with more of them, or leave {named(data, 'classes')} out."
        )
    count = len(np.unique(known.label[known.label >= 0]))
    LOGGER.info("%s: %d of %d particles are in its %d class(es)", data.classes, inside, particles.distinct, count)
    if found.about.refined and _at_poses_of_before(found.record, rows, particles):
        LOGGER.warning(
            "%s: its classes were found at refined poses, and %s has the poses of before; to train at the refined "
            "ones, give %s in place of that list.",
            data.classes,
            data.particles,
            Path(data.classes) / f"{AT_REFINED}.lst",
        )
    return known


def _opened(folder: Path) -> _Classified:
    """Return the classification in a folder."""
    if not is_classification(folder):
        what = f"holds no {RECORD}" if folder.is_dir() else "no such folder"
        raise ConfigurationError(
            f"{named(DataConfig, 'classes')} {folder}: {what}; expected a folder that e2hype_classify.py has written. "
            "Name that one, or leave the option out, and the classes are searched for."
        )
    about = read_document(folder / RECORD, ClassificationRecord)
    record = record_of(folder)
    if record is None:  # as versions before did not write it
        listed = at_given_poses(load_particles(where_it_lies(about.data, folder)))
        record = ParticleRecord(listed.files, listed.file_id, listed.image_index, None, seen(listed), listed.group)
    return _Classified(folder, about, record)


def _rows(record: ParticleRecord, particles: ParticleSet, data: DataConfig) -> Int[np.ndarray, "images"]:
    """Return the row of the classified list that each image is in."""
    otherwise = f"or leave {named(data, 'classes')} out."
    whole = f"Give the list that was classified as it is, classify this one (e2hype_classify.py), {otherwise}"
    rows = rows_of_record(record, particles, data.particles, f"{data.classes}", whole)
    others = np.flatnonzero(rows < 0)
    if len(others):
        first = int(others[0])
        raise DataError(
            f"{data.classes}: its classes are of other particles than {len(others)} of {len(rows)} images of "
            f"{data.particles}, first of number {first} (from 0), image {particles.image_index[first]} of "
            f"{particles.files[int(particles.file_id[first])]}; expected the list that was classified, or particles of "
            f"it. Classify this list (e2hype_classify.py), {otherwise}"
        )
    return rows


def _of_particles(particles: ParticleSet, known: KnownClasses, data: DataConfig) -> KnownClasses:
    """Return for all images of a particle what is known of its first image that is in a class.

    Others may be in none, as images that are not finite are; two classes of one particle are refused.
    """
    first, of = one_image_each(particles)
    inside = np.flatnonzero(known.label >= 0)
    chosen = first.copy()
    chosen[of[inside[::-1]]] = inside[::-1]  # of several, the last that is set is the first in the list
    torn = inside[known.label[inside] != known.label[chosen[of[inside]]]]
    if len(torn):
        raise DataError(
            f"{data.classes}: images of {distinct_among(particles, torn)} particles of {data.particles} are in "
            "different classes; expected one class for all images of a particle. Classify the list without --tilts "
            f"apart, or leave {named(data, 'classes')} out."
        )
    return known.take(chosen[of])


def _at_poses_of_before(record: ParticleRecord, rows: Int[np.ndarray, "images"], particles: ParticleSet) -> bool:
    """Return whether most images are seen as they were before poses were refined."""
    then = {name: values[rows] for name, values in record.seen.items() if name in ("rotation", "shift")}
    moved = changed(then, seen(particles))
    return bool(moved) and bool(np.any([*moved.values()], axis=0).mean() < 0.5)
