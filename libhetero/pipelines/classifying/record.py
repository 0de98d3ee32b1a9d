"""`classification.json`: what e2hype_classify.py found, to be read back with its particles and classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from libhetero.configuration import read_document
from libhetero.errors import DataError
from libhetero.io.pose_changes import at_refined_poses
from libhetero.pipelines.decoding.class_files import whole_classes
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.moved import where_it_lies
from libhetero.pipelines.run.particles import feed_of, load_particles
from libhetero.pipelines.run.poses import REFINED, poses_of
from libhetero.training.feed import ParticleFeed

RECORD, CLASSES, PARTICLES = "classification.json", "classes.txt", "particles.txt"
PARTS = "parts.txt"  # where a molecule that moves was cut into several classes
AT_REFINED = "ptcls_refined"  # lists of all particles at refined poses


@dataclass(frozen=True)
class ClassRecord:
    """One class in `classification.json`.

    Parameters
    ----------
    name : of its files.
    particles : how many.
    share : of the particles in classes.
    probability : mean of its particles'.
    contrast : mean of its particles'.
    resolution : Å, where the half-maps' correlation falls below 0.143; None without a map.
    changes : nats a particle by which a change within the class shows; None where none does.
    """

    name: str
    particles: int
    share: float
    probability: float
    contrast: float
    resolution: float | None = None
    changes: float | None = None


@dataclass(frozen=True)
class Search:
    """How poses were searched for.

    Parameters
    ----------
    within : of the list's, degrees; None where they were not.
    anywhere : whether that is so far that the list's were not looked at.
    reference : map that it began with; None for that of the list's poses, or one from nothing.
    """

    within: float | None = None
    anywhere: bool = False
    reference: str | None = None


@dataclass(frozen=True)
class ClassificationRecord:
    """`classification.json`: what was found.

    Parameters
    ----------
    data : the list, and how its images were prepared.
    particles : of the list.
    junk : of these, that look like junk.
    left_out : of these, whose images are not finite.
    contrast_spread : standard deviation of the particles' contrast.
    sure : part of the particles in classes whose class has a probability of 0.9 or more.
    classes : the largest first.
    refined : whether poses were refined.
    search : for poses, before that.
    parts : whether a molecule that moves was cut into several classes, which `parts.txt` holds.
    """

    data: DataConfig
    particles: int
    junk: int
    left_out: int
    contrast_spread: float
    sure: float
    classes: tuple[ClassRecord, ...]
    refined: bool = False
    search: Search = Search()
    parts: bool = False


@dataclass(frozen=True, eq=False)
class Sorted:
    """A classification that was read back.

    Parameters
    ----------
    folder : where it lies.
    record : what was found.
    feed : the particles, as they were seen.
    label : class of each, -1 for none.
    """

    folder: Path
    record: ClassificationRecord
    feed: ParticleFeed
    label: Int[np.ndarray, "particles"]


def is_classification(folder: str | Path) -> bool:
    """Return whether a folder holds a classification."""
    return (Path(folder) / RECORD).is_file()


def open_classification(folder: str | Path) -> Sorted:
    """Read a classification and its particles.

    Raises
    ------
    UserError : one line, if a file is missing, damaged or of other particles.
    """
    folder = Path(folder)
    record = read_document(folder / RECORD, ClassificationRecord)
    data = where_it_lies(record.data, folder)
    particles = load_particles(data)
    if record.refined and not (folder / REFINED).exists():
        raise DataError(f"{folder / REFINED}: no such file; expected the refined poses. Classify the particles again.")
    if record.refined:
        particles = at_refined_poses(particles, poses_of(folder / REFINED, particles))
    return Sorted(folder, record, feed_of(particles, data), whole_classes(folder / CLASSES, particles))
