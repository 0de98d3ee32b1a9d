"""The poses of all particles of a list: searched for, and refined against volumes of the classes of their images."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int
from scipy.spatial.transform import Rotation

from libhetero.errors import DataError
from libhetero.io import read_volume
from libhetero.io.pose_changes import pose_of
from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.class_search import BALL
from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.pose_refinement import refine_poses
from libhetero.models.hype.latent.pose_search import (
    ALL_ROUND,
    BEYOND,
    OVERSAMPLING,
    Map,
    Poses,
    found_map,
    search_poses,
)
from libhetero.pipelines.classifying.search import SliceReader, check_count, classify_particles
from libhetero.records import ParticleSet, PoseChange
from libhetero.telling.waiting import working
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)
BLOCK = 1024  # particles whose slices are held at once
BATCH = 256  # images read at once
LEAST_SHOWN = 1e-5  # of what a box that is full of a map's largest value has on a ring: rounding
MOST_SAMPLE = 20_000  # particles that a map is found from


def refined_poses(
    feed: ParticleFeed,
    seed: int,
    known: KnownClasses | None = None,
    batch_size: int = BATCH,
    progress: Callable[[float], None] | None = None,
) -> PoseChange:
    """Return what the list's poses are off by; nothing for junk, whose deviations are those of the set.

    Parameters
    ----------
    feed : the particles, at the poses that the changes are from.
    seed : of the sample and of the search for classes.
    known : the classes, where they are known; None to search for them.
    batch_size : images read at once.
    progress : called with the fraction done.

    Raises
    ------
    DataError : for too few particles, or images that show nothing.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    if known is None:
        known = classify_particles(feed, None, seed, batch_size, lambda done: advance(0.5 * done)).known
    reader, every = SliceReader.of(feed, seed, batch_size), np.arange(len(feed))

    def blocks(ring: float) -> Iterator[CentralSlices]:
        return reader.blocks(every, BLOCK, "refining poses", ring)

    label, contrast = known.label, known.contrast.astype(np.float32)
    with working(LOGGER.info, f"refining the poses of {len(feed)} particles"):
        placed = refine_poses(
            blocks, label, contrast, feed.box_size / 2 - 1, BALL, _halves(feed.particles, label, seed)
        )
    side = feed.box_size * feed.pixel_size
    advance(1.0)
    return PoseChange(
        turn=placed.turn,
        shift=placed.shift * side,
        turn_deviation=placed.deviation[:, :3],
        shift_deviation=placed.deviation[:, 3:] * side,
    )


def _halves(particles: ParticleSet, label: Int[np.ndarray, "images"], seed: int) -> Int[np.ndarray, "images"] | None:
    """Return the half-set of each image of tilt series, that of its particle; None where each image shows its own.

    Of each class, half of the particles are in either half-set, or one more in the first.
    """
    if particles.group is None:
        return None
    _, first, of = np.unique(particles.group, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    order = order[np.argsort(label[first[order]], kind="stable")]  # class by class
    half = np.empty(len(first), np.int64)
    for members in np.split(order, np.flatnonzero(np.diff(label[first[order]])) + 1):
        half[members] = np.arange(len(members)) % 2
    return half[of]


def searched_poses(
    feed: ParticleFeed,
    within: float | None,
    reference: Map | None,
    seed: int,
    batch_size: int = BATCH,
    progress: Callable[[float], None] | None = None,
) -> PoseChange:
    """Return what poses are off by that may be off by much, as a search on grids finds it; all show one structure.

    Parameters
    ----------
    feed : the particles, at the poses that the changes are from.
    within : of which turn those may be, degrees; None for any, where their rotations are not looked at.
    reference : a map to begin with; None for that of the poses, or, where these say nothing, for one from nothing.
    seed : of which images are looked at first, and of the random poses that a map is found from.
    batch_size : images read at once.
    progress : called with the fraction done.

    Raises
    ------
    DataError : for too few particles, or where no map is found from nothing.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    check_count(feed)
    side, highest = feed.box_size * feed.pixel_size, feed.box_size / 2 - 1
    begun, before = reference, 0.0
    reader, every = SliceReader.of(feed, seed, batch_size), np.arange(len(feed))
    if reference is None and within is None:
        sample, before = sample_indices(len(feed), MOST_SAMPLE, seed), 0.5
        slices = reader.slices(sample, "reading", max(BEYOND))
        with working(LOGGER.info, f"a map from nothing, of {len(sample)} particles"):
            tried = found_map(slices, BALL, seed, progress=lambda done: advance(before * done))
        if not tried.borne_out:
            raise DataError(
                f"no map is found from nothing: particles that it was not made of do not tell how each is turned (the "
                f"most probable rotation of one has a probability of {tried.apart:.2g}; log-likelihood gain "
                f"{tried.gain:.2g} ± {tried.error:.1g}). Give a map (--reference), more particles, or another --seed."
            )
        begun = tried.map
        LOGGER.info("the map from nothing may be the mirror image, which no image tells: look at its helices")

    def blocks(ring: float) -> Iterator[CentralSlices]:
        return reader.blocks(every, BLOCK, f"searching poses on {ring:g} rings", ring)

    given = Poses(np.asarray(pose_of(feed.particles).rotation, np.float64), np.zeros((len(feed), 2)))
    turn = None if within is None else math.radians(within)
    with working(LOGGER.info, f"searching the poses of {len(feed)} particles"):
        found = search_poses(
            blocks, given, BALL, turn, begun, highest, seed, lambda done: advance(before + (1 - before) * done)
        )
    changed = Rotation.from_matrix(found.rotation @ np.swapaxes(given.rotation, 1, 2)).as_rotvec()
    shift = found.shift * side
    if within is not None:
        LOGGER.info(
            "poses were turned by %.2g degrees and shifted by %.2g Å in the median, before they are refined",
            np.degrees(np.median(np.linalg.norm(changed, axis=1))),
            np.median(np.linalg.norm(shift, axis=1)),
        )
    return PoseChange(
        turn=changed, shift=shift, turn_deviation=np.zeros_like(changed), shift_deviation=np.zeros_like(shift)
    )


def first_map(path: Path, feed: ParticleFeed) -> Map:
    """Return what a search for the poses of some particles begins with of a map.

    Raises
    ------
    DataError : for no map, or one that shows nothing where the particles are.
    """
    side, ring = feed.box_size * feed.pixel_size, min(ALL_ROUND[0], feed.box_size / 2 - 1)
    volume, pixel_size = read_volume(path, remedy="write it there (e2proc3d.py --apix), or give another map")
    grid = FourierGrid(ring, OVERSAMPLING, BALL)
    values = grid.of_volume(volume, pixel_size / side)
    if np.abs(values).max() <= LEAST_SHOWN * np.abs(volume).max() * (side / pixel_size) ** 3:
        raise DataError(
            f"{path}: shows nothing within {BALL * side:.0f} Å of its middle voxel; expected the molecule there."
        )
    return Map(values, grid, scaled=False)
