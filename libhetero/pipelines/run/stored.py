"""A run that goes on in its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import resumed_config
from libhetero.pipelines.run.folder import LATENTS, stored_model
from libhetero.pipelines.run.particle_record import particles_of_run
from libhetero.pipelines.run.particles import feed_of
from libhetero.pipelines.run.start import RunStart
from libhetero.training import sharding
from libhetero.training.held_out import split


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

    def finished(self) -> Path | None:
        """Return the folder of a requeued run that has written its latents, the same having been asked for."""
        if not (self.asked.requeue and sharding.seen_by_writer(self.path / LATENTS)):
            return None
        resumed_config(self.asked, self.path)  # the same command, or a mistake
        return self.path

    def start(self) -> RunStart:
        """Open the run again."""
        config = resumed_config(self.asked, self.path)
        particles = particles_of_run(self.path, config.data, to_train=True)
        feed, model = feed_of(particles, config.data), stored_model(self.path, config, particles)
        trained_on, _ = split(len(feed), config.training)
        return RunStart(config, feed, trained_on, model, stored=True)

    def folder(
        self, start: RunStart, new_folder: Callable[[], Path] | None, started: Callable[[Path], object] | None
    ) -> Path:
        """Return the run's folder, which has all it needs."""
        return self.path
