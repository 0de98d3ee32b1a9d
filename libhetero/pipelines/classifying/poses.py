"""The poses of all particles of a list: searched for, and refined against volumes of the classes of their images."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from libhetero.io.pose_changes import pose_of
from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.class_search import BALL
from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.pose_refinement import refine_poses
from libhetero.models.hype.latent.pose_search import (
    ALL_ROUND,
    MOST_ABOUT,
    OVERSAMPLING,
    RISING,
    Map,
    Poses,
    found_map,
    search_poses,
)
from libhetero.pipelines.classifying.search import Classification, SliceReader, classify_particles
from libhetero.records import PoseChange
from libhetero.telling.waiting import working
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)
BLOCK = 1024  # particles whose slices are held at once
BATCH = 256  # images read at once
MOST_SAMPLE = 20_000  # particles that a map is found from


def refined_poses(
    feed: ParticleFeed,
    seed: int,
    found: Classification | None = None,
    batch_size: int = BATCH,
    progress: Callable[[float], None] | None = None,
) -> PoseChange:
    """Return what the list's poses are off by; nothing for junk, whose deviations are those of the set.

    Parameters
    ----------
    feed : the particles, at the poses that the changes are from.
    seed : of the sample and of the search for classes.
    found : the classes, where they are known.
    batch_size : images read at once.
    progress : called with the fraction done.

    Raises
    ------
    DataError : for too few particles, or images that show nothing.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    if found is None:
        found = classify_particles(feed, None, seed, batch_size, lambda done: advance(0.5 * done))
    reader, every = SliceReader.of(feed, seed, batch_size), np.arange(len(feed))

    def blocks(ring: float) -> Iterator[CentralSlices]:
        return reader.blocks(every, BLOCK, "refining poses", ring)

    contrast = np.where(found.label >= 0, found.findings.contrast, 1).astype(np.float32)
    with working(LOGGER.info, f"refining the poses of {len(feed)} particles"):
        placed = refine_poses(blocks, found.label, contrast, feed.box_size / 2 - 1, BALL)
    side = feed.box_size * feed.pixel_size
    advance(1.0)
    return PoseChange(
        turn=placed.turn,
        shift=placed.shift * side,
        turn_deviation=placed.deviation[:, :3],
        shift_deviation=placed.deviation[:, 3:] * side,
    )


def searched_poses(
    feed: ParticleFeed,
    within: float,
    reference: tuple[Float[np.ndarray, "z y x"], float] | None,
    seed: int,
    batch_size: int = BATCH,
    progress: Callable[[float], None] | None = None,
) -> PoseChange:
    """Return what poses are off by that may be off by much, as a search on grids finds it; all show one structure.

    Parameters
    ----------
    feed : the particles, at the poses that the changes are from.
    within : of which turn those may be, degrees.
    reference : a map to begin with and its pixel size, Å; None for that of the poses, or, where they may be off by
        more than 45 degrees, for one that is found from nothing.
    seed : of which images are looked at first, and of the random poses that a map is found from.
    batch_size : images read at once.
    progress : called with the fraction done.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    reader, every = SliceReader.of(feed, seed, batch_size), np.arange(len(feed))
    side, turn = feed.box_size * feed.pixel_size, math.radians(within)
    highest = feed.box_size / 2 - 1
    begun, before = None, 0.0
    if reference is not None:
        grid = FourierGrid(min(ALL_ROUND[0], highest), OVERSAMPLING, BALL)
        begun = Map(grid.of_volume(reference[0], reference[1] / side), grid, scaled=False)
    elif turn > MOST_ABOUT:
        sample = sample_indices(len(feed), MOST_SAMPLE, seed)
        slices = next(reader.blocks(sample, len(sample), "reading", max(RISING)))
        before = 0.5
        with working(LOGGER.info, f"a map from {len(sample)} particles of which no pose is known"):
            begun = found_map(slices, BALL, seed, progress=lambda done: advance(before * done))

    def blocks(ring: float) -> Iterator[CentralSlices]:
        return reader.blocks(every, BLOCK, "searching poses", ring)

    given = Poses(np.asarray(pose_of(feed.particles).rotation, np.float64), np.zeros((len(feed), 2)))
    with working(LOGGER.info, f"searching the poses of {len(feed)} particles"):
        found = search_poses(
            blocks, given, BALL, turn, begun, highest, seed, lambda done: advance(before + (1 - before) * done)
        )
    changed = Rotation.from_matrix(found.rotation @ np.swapaxes(given.rotation, 1, 2)).as_rotvec()
    shift = found.shift * side
    LOGGER.info(
        "poses were searched: turned by %.0f degrees and shifted by %.2g Å in the median",
        np.degrees(np.median(np.linalg.norm(changed, axis=1))),
        np.median(np.linalg.norm(shift, axis=1)),
    )
    return PoseChange(
        turn=changed, shift=shift, turn_deviation=np.zeros_like(changed), shift_deviation=np.zeros_like(shift)
    )
