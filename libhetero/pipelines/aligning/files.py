"""What an alignment of regions writes: a list of particles for each in which it stands still, and how it moves."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.files import remove_stale, replacing
from libhetero.pipelines.aligning.motions import RegionMotion
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.listing.copying import placed_in
from libhetero.pipelines.listing.writing import LIST_ENDINGS, endings_of, write_lists
from libhetero.records import ParticleSet
from libhetero.report.arrows import write_arrows
from libhetero.tilts import one_image_each

LOGGER = logging.getLogger(__name__)

ARROWS, SAMPLE = 30, 2048  # of a region; particles
MOTION, SUBTRACTED = "_motion.txt", "_subtracted.mrcs"
COLUMNS = "particle, turned by (degrees about x, y, z), pivot gone by (Å along x, y, z), not rigid (Å)"
REFINED = "; refined by: shift along x, y of the image (Å), turn about x, y, z of the image (degrees), their deviations"


def region_name(region: int) -> str:
    """Return what the files of a region are called."""
    return f"region_{region:02d}"


def write_alignment(
    folder: Path, particles: ParticleSet, motions: Sequence[RegionMotion], stacks: Sequence[Path] | None = None
) -> list[Path]:
    """Write region_NN.lst, .star (of a .cs, .cs) and region_NN_motion.txt for each region; those of before go, but
    for stacks.

    Of a symmetric complex, lists hold each image once for every unit, all of them in one half-set. There is no .cs
    then, as several of its rows would have one uid.

    Returns the tables of motion.

    Parameters
    ----------
    particles : as lists should name them, with the poses of the molecules.
    motions : of each region.
    stacks : of the images of each, in the order of the rows of its motion; None for those of the particles.
    """
    own = re.compile(rf"region_\d+({'|'.join(map(re.escape, (*LIST_ENDINGS, MOTION)))})")
    remove_stale(folder, *(path.name for path in folder.glob("region_*") if own.fullmatch(path.name)))
    written = {path.name for path in stacks or ()}
    for path in sorted(folder.glob(f"region_[0-9]*{SUBTRACTED}")):  # others may have been trained on them
        if path.name not in written:
            LOGGER.warning("%s: is of an earlier call, and is kept; remove it where nothing is trained on it", path)
    names, endings = [region_name(motion.region) for motion in motions], endings_of(particles)
    units = max((len(motion.shown) // max(len(particles), 1) for motion in motions), default=1)
    if units > 1:
        particles = seen_several_times(particles, units)
        if len(endings) > 2:
            LOGGER.warning("no .cs of the regions: it would have one uid for all %d units of an image", units)
        endings = LIST_ENDINGS[:2]
    shown = [particles] * len(motions) if stacks is None else [placed_in(particles, str(path)) for path in stacks]
    still = [
        dataclasses.replace(one, pose=motion.poses, given=None) for one, motion in zip(shown, motions, strict=True)
    ]
    write_lists(folder, dict(zip(names, still, strict=True)), endings)
    return [_write_motion(folder / f"{name}{MOTION}", motion) for name, motion in zip(names, motions, strict=True)]


def seen_several_times(particles: ParticleSet, times: int) -> ParticleSet:
    """Return particles in their order, again and again; all of one image, and of one particle, in one half-set.

    Parameters
    ----------
    particles : where they are not of both half-sets, every other one is of the second.
    times : how often.
    """
    half_set = particles.half_set
    if half_set is None or len(np.unique(half_set)) < 2:
        half_set = one_image_each(particles)[1] % 2
    several = dataclasses.replace(particles, half_set=half_set)
    return several.take(np.tile(np.arange(len(particles)), times))


def write_motion_arrows(
    path: Path,
    position: Float[np.ndarray, "gaussians 3"],
    label: Int[np.ndarray, "gaussians"],
    motions: Sequence[RegionMotion],
    origin: float,
) -> Path:
    """Write arrows of the main motion of each region, two standard deviations to either side, for ChimeraX; return it.

    Parameters
    ----------
    path : .bild to make.
    position, label : of the Gaussians at rest (Å), and their regions.
    motions : of the regions.
    origin : Å from the first voxel of a map to its centre.
    """
    arrows = {}
    for motion in motions:
        inside = position[label == motion.region]
        shown = inside[spread_indices(len(inside), ARROWS)]
        seen = spread_indices(len(motion.residual), SAMPLE)
        step = 2 * motion.motions.take(seen).main_motion(shown)
        arrows[motion.region] = (shown - step, shown + step)
    write_arrows(path, arrows, origin)
    return path


def _write_motion(path: Path, motion: RegionMotion) -> Path:
    shown, turned = motion.shown, np.degrees(motion.motions.rotation_vectors())
    decoded = [turned[shown], motion.motions.moved(motion.pivot)[shown], motion.residual[shown]]
    columns, header = [np.arange(len(shown)), *decoded], COLUMNS
    if motion.spread is not None and motion.numbers is not None and motion.variance is not None:
        unit = np.repeat([motion.spread[0], np.degrees(motion.spread[1])], [2, 3])
        columns, header = [*columns, unit * motion.numbers, unit * np.sqrt(motion.variance)], header + REFINED
    table = np.column_stack(columns)
    with replacing(path) as beside:
        np.savetxt(beside, table, fmt=["%d", *["%.5g"] * (table.shape[1] - 1)], header=header)
    return path
