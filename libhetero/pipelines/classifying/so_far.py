"""Poses that a classification has found before it is whole: kept in files of their own until all of it is written.

Poses take longest to find, and what fails after them, such as a search for classes or a full disk, loses none:

ptcls_so_far.lst, .star     all particles at these poses
poses_so_far.txt            what the list's poses are off by, as poses.txt
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libhetero.errors import StoppedEarly, UserError
from libhetero.files import remove_stale, replacing_set
from libhetero.io.pose_changes import at_refined_poses, pose_of, write_pose_changes
from libhetero.pipelines.listing.writing import LIST_ENDINGS, write_lists
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import is_unturned, listed_particles
from libhetero.records import PoseChange
from libhetero.telling.stopping import stopped_early
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
LIST, POSES = "ptcls_so_far", "poses_so_far.txt"
SO_FAR = (POSES, *(f"{LIST}{ending}" for ending in LIST_ENDINGS))


class PosesSoFar:
    """Keeps the poses that were found last.

    Parameters
    ----------
    folder : of the classification.
    data : the particles, as their list was named.
    """

    def __init__(self, folder: Path, data: DataConfig) -> None:
        self._folder, self._data = folder, data
        self._kept: Path | None = None

    def keep(self, feed: ParticleFeed, change: PoseChange) -> None:
        """Write poses, and a list of all particles at them.

        Parameters
        ----------
        feed : the particles, as listed.
        change : what their poses are off by.
        """
        listed = listed_particles(at_refined_poses(feed.particles, change), self._data)
        if is_unturned(pose_of(feed.particles)):  # nothing to tell beside poses that were found
            listed = dataclasses.replace(listed, given=None)
        with replacing_set(self._folder, alone=True):
            write_pose_changes(self._folder / POSES, change)
            endings = write_lists(self._folder, {LIST: listed})
        self._kept = self._folder / f"{LIST}{endings[0]}"
        LOGGER.info("%s: all particles at the poses found so far, kept until the classification is written", self._kept)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say where the poses are, in its line, if what is done in the block fails or is asked to stop.

        Raises
        ------
        StoppedEarly : the system or the user asked, and poses are kept; else KeyboardInterrupt goes on, for whoever is
            around to say it.
        """
        try:
            with stopped_early(lambda: None if self._kept is None else self._where()):
                yield
        except StoppedEarly:
            raise
        except UserError as error:
            if self._kept is not None:
                error.args = (f"{error} {self._where()}",)
            raise
        except Exception:  # such as exhausted memory, which is told later
            if self._kept is not None:
                LOGGER.warning("%s", self._where())
            raise

    def _where(self) -> str:
        return (
            f"The poses found before are kept: {self._kept} lists all particles at them, to go on from with "
            "--refine_poses and another output."
        )

    def forget(self) -> None:
        """Let the files go with the rest of a set that takes their place."""
        remove_stale(self._folder, *SO_FAR)
