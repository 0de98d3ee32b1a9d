"""The folder of a classification: tables, lists, figures, and the page that links them."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.classes import class_members
from libhetero.configuration import write_json
from libhetero.files import remove_stale
from libhetero.io.particle_findings import write_findings
from libhetero.io.pose_changes import at_given_poses
from libhetero.metrics.fsc import resolution
from libhetero.pipelines.classifying.maps import FIGURE
from libhetero.pipelines.classifying.record import (
    AT_REFINED,
    CLASSES,
    PARTICLES,
    PARTS,
    RECORD,
    ClassificationRecord,
    ClassRecord,
    Search,
)
from libhetero.pipelines.classifying.search import Classification
from libhetero.pipelines.decoding.class_files import class_names, write_classes, write_lists_of_classes
from libhetero.pipelines.decoding.particle_findings import FIGURE as EVIDENCE
from libhetero.pipelines.decoding.particle_findings import estimated
from libhetero.pipelines.listing.writing import write_lists
from libhetero.pipelines.maps.classes import FIGURE as FSC
from libhetero.pipelines.maps.classes import HALF_MAPS, ClassMap
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.run.particle_record import write_record
from libhetero.pipelines.run.particles import is_unturned, listed_particles
from libhetero.pipelines.run.poses import FIGURE as POSES_FIGURE
from libhetero.pipelines.run.poses import REFINED, write_poses
from libhetero.records import ParticleSet
from libhetero.report.evidence import draw_evidence
from libhetero.report.page import Cell, Link, Page
from libhetero.tilts import distinct_among, one_image_each, one_of_each
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
PAGE, JUNK = "index.html", "ptcls_junk"
NO_SEARCH = Search()
HEADER = (
    "class",
    "particles",
    "share",
    "sure of it",
    "contrast",
    "changes within",
    "half-maps agree to",
    "map",
    "lists",
)


@dataclass(frozen=True)
class Written:
    """What was written.

    Parameters
    ----------
    page : index.html.
    training : command that trains CryoHype from these classes.
    """

    page: Path
    training: str


def _no_options(rewritten: bool) -> Sequence[str]:
    return ()


def write_classification(
    folder: Path,
    feed: ParticleFeed,
    data: DataConfig,
    found: Classification,
    maps: Sequence[ClassMap],
    search: Search = NO_SEARCH,
    options: Callable[[bool], Sequence[str]] = _no_options,
) -> Written:
    """Write all but the maps into a folder.

    Parameters
    ----------
    folder : where.
    feed : the particles.
    data : as their list was named.
    found : their classes.
    maps : of the classes; none where none were made.
    search : for poses, of which the particles have the refined ones.
    options : words by which e2hype_refine.py reads the same particles, given whether from a list that is written here.
    """
    particles = feed.particles
    every, first = np.arange(len(found.label)), one_image_each(particles)[0]
    write_classes(folder / CLASSES, every, found.label, list_digest(particles), found.probability)
    write_findings(folder / PARTICLES, found.findings)
    write_record(folder, at_given_poses(particles))
    remove_stale(folder, PARTS)
    if found.in_parts:
        write_classes(folder / PARTS, every, found.part, list_digest(particles))
    shown = (part[first] for part in (found.findings.evidence, found.findings.junk, found.findings.contrast))
    draw_evidence(folder / EVIDENCE, *shown)
    remove_stale(folder, REFINED, POSES_FIGURE, f"{AT_REFINED}.*")
    listed = listed_particles(estimated(particles, found.findings), data)
    moved = particles.given is not None and not is_unturned(particles.given.pose)
    if particles.given is not None:
        write_poses(folder / REFINED, particles.given.change, moved)
    if not moved:  # nothing to tell beside poses that were found
        listed = dataclasses.replace(listed, given=None)
    endings = write_lists_of_classes(folder, listed, found.label, "class")
    if particles.given is not None:
        write_lists(folder, {AT_REFINED: listed})
    remove_stale(folder, f"{JUNK}.*")
    if found.junk.any():
        write_lists(folder, {JUNK: listed.take(np.flatnonzero(found.junk))})
    seen, refined = data.seen(feed.config, len(feed)), particles.given is not None
    record = _record(seen, particles, found, maps, feed.pixel_size, refined, search)
    write_json(folder / RECORD, asdict(record))
    every_listed = str(folder / f"{AT_REFINED}{endings[0]}") if refined else data.particles
    words = ["e2hype_refine.py", every_listed, *options(refined), "--classes", str(folder)]
    written = Written(folder / PAGE, shlex.join(words))
    _page(folder, data, record, bool(maps), endings, moved, written.training).write(written.page)
    LOGGER.info("wrote %s, %s and a list of each class", folder / CLASSES, written.page)
    return written


def _record(
    data: DataConfig,
    particles: ParticleSet,
    found: Classification,
    maps: Sequence[ClassMap],
    pixel_size: float,
    refined: bool,
    search: Search,
) -> ClassificationRecord:
    names = class_names(found.label)
    inside = max(distinct_among(particles, np.flatnonzero(found.label >= 0)), 1)
    resolutions = {one.name: one for one in maps}
    classes = []
    for one, members in class_members(found.label).items():
        name = names[one]
        made, once = resolutions.get(name), one_of_each(particles, members)
        classes.append(
            ClassRecord(
                name,
                len(once),
                len(once) / inside,
                float(found.probability[once].mean()),
                float(found.findings.contrast[once].mean()),
                None if made is None else resolution(made.half_maps, HALF_MAPS, pixel_size),
                found.changes.get(one),
            )
        )
    junk = distinct_among(particles, np.flatnonzero(found.junk))
    facts = junk, found.left_out, found.spread, found.sure
    return ClassificationRecord(data, particles.distinct, *facts, tuple(classes), refined, search, found.in_parts)


def _searched(search: Search) -> str:
    """Say how poses were searched for."""
    name = "" if search.reference is None else Path(search.reference).name
    if not search.anywhere:
        begun = name or "that of the list's poses"
        return f"Poses were searched for within {search.within:g} degrees of the list's; the first map was {begun}."
    if name:
        return f"Poses were searched for over all rotations; the first map was {name}."
    return (
        "Poses were searched for over all rotations, and the first map was found from nothing: it may be the mirror "
        "image, which no image tells. Where helices are left-handed, search again with the mirrored map (e2proc3d.py "
        "--process xform.mirror:axis=z) as --reference."
    )


def _page(
    folder: Path,
    data: DataConfig,
    record: ClassificationRecord,
    maps: bool,
    endings: Sequence[str],
    moved: bool,
    training: str,
) -> Page:
    rows: list[list[Cell]] = []
    for one in record.classes:
        resolved = "" if one.resolution is None else f"{one.resolution:.1f} Å"
        files = [Link(f"{one.name}.mrc", f"{one.name}.mrc")] if maps else ""
        lists = [Link(f"{one.name}{ending}", f"{one.name}{ending}") for ending in endings]
        numbers = [str(one.particles), f"{100 * one.share:.1f} %", f"{one.probability:.3f}", f"{one.contrast:.2f}"]
        changes = "" if one.changes is None else f"yes (log-likelihood gain {one.changes:.2g} a particle)"
        rows.append([one.name, *numbers, changes, resolved, files, lists])
    facts = [
        f"{record.particles} particles in {len(record.classes)} class(es); the class of {100 * record.sure:.1f} % of "
        "those in classes is sure (probability 0.9 or more).",
        f"Contrast varies by {100 * record.contrast_spread:.0f} % from particle to particle.",
        f"{record.junk} particles look like junk, {record.left_out} images were left out as they are not finite.",
    ]
    if len(record.classes) == 1:
        facts.insert(1, "The images do not tell different molecules apart.")
    if maps:
        facts.append("Classes were chosen on both halves of their images: half-maps agree a little too well.")
    figures = (
        [Link("surfaces of the largest classes at one level, from three sides, and their central slices", FIGURE)]
        if maps
        else []
    )
    figures += [Link("correlation of the half-maps of each class", FSC)] if maps else []
    figures.append(Link("evidence and contrast of the particles", EVIDENCE))
    if moved:
        figures.append(Link("how far poses were moved", POSES_FIGURE))
    first = record.classes[0].name
    if record.search.within is not None:
        facts.append(_searched(record.search))
    if record.refined:
        facts.append(
            f"Poses were refined; all particles at the refined ones are in {AT_REFINED}{endings[0]}. Each was taken "
            "to a map of half of its class, drawn anew: half-maps by the list's half-sets agree a little too well."
        )
    commands = [
        ("a class alone, at full resolution", f"e2hype_make3d.py {shlex.quote(str(folder / first))}.lst {first}.mrc"),
        ("motion and assembly within a class", f"e2hype_guess_n.py {shlex.quote(str(folder / first))}.mrc gmm.txt"),
        ("continuous change of all molecules, by CryoHype, from these classes", training),
    ]
    return Page(f"Classes of {Path(data.particles).name}", facts, HEADER, rows, figures, commands)
