"""Training in a run folder, and what a finished run leaves there."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from libhetero.io import write_particles
from libhetero.pipelines.decoding.mid_latent import write_mid
from libhetero.pipelines.run.batch import encoded_at_once, naming_remedies
from libhetero.pipelines.run.configuration import write_config
from libhetero.pipelines.run.image_cache import cached
from libhetero.pipelines.run.lock import locked
from libhetero.pipelines.run.particles import listed_particles
from libhetero.pipelines.run.start import RunStart, seen_by_writer
from libhetero.pipelines.run.watching import RunWatch
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.loop import TrainingResult, train

LOGGER = logging.getLogger(__name__)
LATENTS = "mid_00.txt"  # written last


def trained(
    start: RunStart, folder: Path, tensorboard: bool, progress: Callable[[float], None] | None
) -> TrainingResult:
    """Train in a run folder, which nobody else does meanwhile, and write what a finished run leaves.

    Parameters
    ----------
    folder : written, or gone on in.
    tensorboard : whether to write events for TensorBoard.
    progress : called with the fraction done.
    """
    with locked(folder):
        resumes = start.folder is not None and _has_checkpoint(folder)
        if sharding.is_writer():
            write_config(folder, start.config)  # what may change on resuming has
        start = dataclasses.replace(start, feed=cached(start.feed, start.config.data.cache))
        sharding.wait_for_all("fed")  # filling takes longer on one machine than on another
        with naming_remedies(start.config.training):
            result = _steps(start, folder, resumes, tensorboard, progress)
            if result.finished and sharding.is_writer():
                _write_latents(start, folder, result.params)
    sharding.wait_for_all("refined")
    return result


def _steps(
    start: RunStart, folder: Path, resumes: bool, tensorboard: bool, progress: Callable[[float], None] | None
) -> TrainingResult:
    """Take the steps that are left, watched."""
    model, config = start.model, start.config.training
    key = jax.random.key(config.seed)
    params = jax.eval_shape(model.init, key) if resumes else jax.jit(model.init)(key)
    with RunWatch(folder, model, start.feed, config, tensorboard=tensorboard) as watch:
        return train(
            model,
            params,
            start.feed,
            config,
            folder,
            resume=resumes,
            progress=progress,
            observe=watch.checkpoint,
            listener=watch.report,
        )


def _write_latents(start: RunStart, folder: Path, params: Any) -> None:
    """Write the latent of every particle, and which particles were left out."""
    feed = start.feed
    feed.bad.without_limit()

    def write_bad() -> None:
        places, path = feed.bad.places(), folder / "ptcls_bad.lst"
        if len(places):
            write_particles(path, listed_particles(feed.particles.take(places), start.config.data))
            LOGGER.warning("%s: %d particles with images that are not finite were left out", path, len(places))

    at_once = encoded_at_once(start.config.training)
    write_mid(folder / LATENTS, start.model, params, feed, at_once, encoded=write_bad)


def finished_step(folder: Path) -> int | None:
    """Return the last step of a run that is finished; None if it is not."""
    if not seen_by_writer(folder / LATENTS):
        return None
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        return checkpoints.latest() or 0


def _has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint to go on from; a run stopped before its first starts over."""
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        found = checkpoints.latest() is not None
    if not found:
        LOGGER.warning("%s: stopped before its first checkpoint; training starts over", folder)
    return found
