"""The order of a classification: poses searched for, classes, poses refined, classes at these."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from libhetero.io.pose_changes import at_refined_poses, changed_pose, composed, pose_of
from libhetero.models.hype.latent.pose_search import Map
from libhetero.pipelines.classifying.poses import refined_poses, searched_poses
from libhetero.pipelines.classifying.record import Search
from libhetero.pipelines.classifying.search import Classification, classify_particles
from libhetero.pipelines.classifying.so_far import PosesSoFar
from libhetero.records import PoseChange
from libhetero.telling.stages import timed
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Steps:
    """What a classification is to do.

    Parameters
    ----------
    search : for poses, before anything else.
    reference : map that it begins with; None for none.
    refine : whether poses are refined, as those that were searched for always are.
    classes : at most; None to find out.
    seed : of all searches.
    batch_size : images read at once.
    """

    search: Search
    reference: Map | None
    refine: bool
    classes: int | None
    seed: int
    batch_size: int

    @property
    def shares(self) -> int:
        """How many parts the work has: a search for poses and a refinement take two each, classes one."""
        return 1 + 2 * self.refine + 2 * (self.search.within is not None)

    def done(self, feed: ParticleFeed, so_far: PosesSoFar, progress: Progress) -> tuple[ParticleFeed, Classification]:
        """Return the particles at the poses that were found, and their classes.

        Parameters
        ----------
        feed : the particles, as listed.
        so_far : keeps poses as soon as they are known.
        progress : called with the fraction done.

        Raises
        ------
        DataError : for too few particles, or images that show nothing.
        """
        searched, begun, before = None, feed, 0
        if self.search.within is not None:
            with timed(LOGGER, "search for poses"):
                searched = self._searched(feed, progress)
            so_far.keep(feed, searched)
            begun, before = _as_listed_at(feed, searched), 2
        with timed(LOGGER, "classes"):
            found = self._classes(begun, before, progress)
        if not self.refine:
            return feed, found
        with timed(LOGGER, "poses"):
            change = refined_poses(begun, self.seed, found.known, self.batch_size)
        if searched is not None:
            change = composed(searched, change)
        so_far.keep(feed, change)
        refined = dataclasses.replace(feed, particles=at_refined_poses(feed.particles, change))
        progress((before + 2) / self.shares)
        with timed(LOGGER, "classes at the refined poses"):
            return refined, self._classes(refined, before + 2, progress)

    def _searched(self, feed: ParticleFeed, progress: Progress) -> PoseChange:
        within = None if self.search.anywhere else self.search.within
        begin = self.reference, self.seed, self.batch_size
        return searched_poses(feed, within, *begin, lambda part: progress(2 * part / self.shares))

    def _classes(self, feed: ParticleFeed, before: int, progress: Progress) -> Classification:
        given = self.classes, self.seed, self.batch_size
        return classify_particles(feed, *given, lambda part: progress((before + part) / self.shares))


def _as_listed_at(feed: ParticleFeed, change: PoseChange) -> ParticleFeed:
    """Return particles at other poses, as if their list had these."""
    pose = changed_pose(pose_of(feed.particles), change)
    return dataclasses.replace(feed, particles=dataclasses.replace(feed.particles, pose=pose))
