"""The poses of all particles of a list, refined against the volumes of the classes that their images show."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np

from libhetero.io.pose_changes import at_given_poses
from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.class_search import BALL
from libhetero.models.hype.latent.pose_refinement import refine_poses
from libhetero.pipelines.classifying.search import Classification, SliceReader, classify_particles
from libhetero.records import PoseChange
from libhetero.telling.waiting import working
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
BLOCK = 1024  # particles whose slices are held at once
BATCH = 256  # images read at once


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
    feed : the particles, at any poses; the changes are from those of their list.
    seed : of the sample and of the search for classes.
    found : the classes, where they are known.
    batch_size : images read at once.
    progress : called with the fraction done.

    Raises
    ------
    DataError : for too few particles, or images that show nothing.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    feed = dataclasses.replace(feed, particles=at_given_poses(feed.particles))
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
