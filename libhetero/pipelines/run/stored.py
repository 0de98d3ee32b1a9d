"""A run that goes on in its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax

from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.batch import refuse_parts
from libhetero.pipelines.run.configuration import resumed_config
from libhetero.pipelines.run.folder import CHECKPOINTS, latents_are_current, stored_model
from libhetero.pipelines.run.particle_record import particles_of_run
from libhetero.pipelines.run.particles import feed_of
from libhetero.pipelines.run.poses import trained_poses
from libhetero.pipelines.run.reached import Reached
from libhetero.pipelines.run.start import RunStart
from libhetero.training import sharding
from libhetero.training.checkpoint import About, CheckpointFolder, Restored, last_about, last_step
from libhetero.training.held_out import split
from libhetero.training.series import drawn_from

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredRun:
    """A run to go on with; see `libhetero.pipelines.run.wanted.WantedRun`.

    Parameters
    ----------
    asked : what was asked for, which may not contradict what the run is.
    path : its folder.
    """

    asked: RefineConfig
    path: Path

    def start(self) -> RunStart:
        """Open the run again."""
        config = resumed_config(self.asked, self.path, self._steps)
        particles = trained_poses(self.path, config, particles_of_run(self.path, config.data, to_train=True))
        if particles.group is not None:
            refuse_parts(config.training)
        feed, model = feed_of(particles, config.data), stored_model(self.path, config, particles)
        trained_on, _ = split(len(drawn_from(feed)), config.training)
        return RunStart(config, feed, trained_on, model, stored=True)

    def finished(self, start: RunStart) -> Path | None:
        """Return the folder of a run that has done all its epochs and written its latents; of it nothing is touched."""
        said = sharding.said_by_writer(lambda: self._why_finished(start))
        if not said:
            return None
        LOGGER.info("%s: this run is finished, %s; nothing is left to do", self.path, said)
        return self.path

    def _steps(self) -> int:
        """Return how many steps the run has done, as process 0 sees it."""

        return int(sharding.said_by_writer(lambda: str(last_step(self.path / CHECKPOINTS) or 0)))

    def _why_finished(self, start: RunStart) -> str:
        """Return why nothing is left to do, "" where something is: process 0 looks alone, and waits for no other."""
        about = last_about(self.path / CHECKPOINTS)
        if about is None or not latents_are_current(self.path):
            return ""
        restored = self._readable(start, about)
        reached = Reached.of(start.config, len(start.drawn), restored)
        if not reached.finished or restored.step != about.step:
            return ""
        if reached.ended:
            return f"ended after epoch {reached.epoch}, as the held-out particles gained nothing any more"
        more = 2 * reached.epochs
        return f"after {reached.epochs} epochs (to train it further: --resume {self.path} --niter {more})"

    def _readable(self, start: RunStart, about: About) -> Restored:
        """Return what the last checkpoint that can be read holds, as far as one process can tell by itself.

        Parameters
        ----------
        about : what the last one says of itself.
        """
        if jax.process_count() > 1:  # orbax would wait for the others
            return Restored(None, about.step, ended=about.ended)
        shapes = jax.eval_shape(start.model.init, jax.random.key(start.config.training.seed))
        with CheckpointFolder(self.path / CHECKPOINTS) as checkpoints:
            return checkpoints.restored(shapes, start.config.training)

    def folder(
        self, start: RunStart, new_folder: Callable[[], Path] | None, started: Callable[[Path], object] | None
    ) -> Path:
        """Return the run's folder, which has all it needs."""
        return self.path
