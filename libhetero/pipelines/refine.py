"""Train a model on a particle set: everything between the options and the run folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax

from libhetero.errors import StoppedEarly
from libhetero.io import write_particles
from libhetero.pipelines.decoding.mid_latent import write_mid
from libhetero.pipelines.run.budget import naming_remedies, per_device, prepared
from libhetero.pipelines.run.configuration import RefineConfig, resumed_config
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import write_config
from libhetero.pipelines.run.image_cache import cached
from libhetero.pipelines.run.lock import locked
from libhetero.pipelines.run.particles import listed_particles
from libhetero.pipelines.run.start import RunStart, reopen, seen_by_writer, settled
from libhetero.pipelines.run.watching import RunWatch
from libhetero.report.tensorboard import require_tensorboard
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import ParticleFeed
from libhetero.training.loop import TrainingResult, train
from libhetero.training.processes import joined as joined_processes
from libhetero.training.processes import processes_asked

LOGGER = logging.getLogger(__name__)
LATENTS = "mid_00.txt"  # written last


@dataclass(frozen=True)
class RefineResult:
    """What a refinement leaves.

    Parameters
    ----------
    folder : the run folder.
    step : steps done.
    finished : whether all of its epochs are done.
    """

    folder: Path
    step: int
    finished: bool


def run(
    config: RefineConfig,
    *,
    new_folder: Callable[[], Path] | None = None,
    started: Callable[[Path], object] | None = None,
    progress: Callable[[float], None] | None = None,
    joined: Callable[[int, int], None] | None = None,
) -> RefineResult:
    """Train, or go on training, and write the run folder.

    Parameters
    ----------
    config : what was asked for.
    new_folder : makes the folder of a new run without a name, once everything has been checked.
    started : called with that folder before training starts.
    progress : called with the fraction done.
    joined : called with the index of this process and how many there are.

    Raises
    ------
    StoppedEarly : the system asked to stop; a checkpoint is written.
    UserError : one line on what is wrong with options or files.
    """
    if config.tensorboard:
        require_tensorboard()
    with joined_processes(processes_asked(*config.processes, os.environ), joined):
        result = _run(settled(config), new_folder, started, progress)
    if not result.finished:
        raise StoppedEarly(
            f"stopped as the system asked, after step {result.step}; the checkpoint is written. "
            f"Go on with --resume {result.folder}."
        )
    return result


def _run(
    config: RefineConfig,
    new_folder: Callable[[], Path] | None,
    started: Callable[[Path], object] | None,
    progress: Callable[[float], None] | None,
) -> RefineResult:
    if config.resume is not None:
        folder = Path(config.resume)
        if config.requeue and seen_by_writer(folder / LATENTS):
            resumed_config(config)  # the same command, or a mistake
            LOGGER.info("%s: this run is finished; nothing is left to do", folder)
            with CheckpointFolder(folder / "checkpoints") as checkpoints:
                return RefineResult(folder, checkpoints.latest() or 0, True)
        start = reopen(config)
    else:
        start = prepared(config)
        folder = start.write(config.folder, new_folder)
        if started is not None and sharding.is_writer():
            started(folder)
    LOGGER.info(
        "%s: %d particles, box %d, %.4g Å per pixel, %d device(s)",
        folder,
        len(start.feed),
        start.feed.box_size,
        start.feed.pixel_size,
        jax.device_count(),
    )
    with locked(folder):
        result = _train(folder, start, config, progress)
    sharding.wait_for_all("refined")
    return RefineResult(folder, result.step, result.finished)


def _train(
    folder: Path, start: RunStart, asked: RefineConfig, progress: Callable[[float], None] | None
) -> TrainingResult:
    """Train in the folder, which nobody else does, and write what a finished run leaves."""
    config, model = start.config, start.model
    resumes = asked.resume is not None and _has_checkpoint(folder)
    if asked.resume is not None and sharding.is_writer():
        write_config(folder, config)  # what may change on resuming has
    feed = cached(start.feed, config.data.cache)
    sharding.wait_for_all("fed")  # filling takes longer on one machine than on another
    key = jax.random.key(config.training.seed)
    params = jax.eval_shape(model.init, key) if resumes else jax.jit(model.init)(key)
    watch = RunWatch(folder, model, feed, config.training, tensorboard=asked.tensorboard)
    with watch, naming_remedies(config.training):
        result = train(
            model,
            params,
            feed,
            config.training,
            folder,
            resume=resumes,
            progress=progress,
            observe=watch.checkpoint,
            listener=watch.report,
        )
    if result.finished and sharding.is_writer():
        feed.bad.without_limit()
        with naming_remedies(config.training):
            write_mid(
                folder / LATENTS,
                model,
                result.params,
                feed,
                _encoded_at_once(config.training),
                encoded=lambda: _write_bad(folder / "ptcls_bad.lst", feed, config.data),
            )
    return result


def _encoded_at_once(config: TrainingConfig) -> int:
    """Return how many particles fit this process's devices as they do in training."""
    return per_device(config) // config.accumulate * jax.local_device_count()


def _write_bad(path: Path, feed: ParticleFeed, data: DataConfig) -> None:
    """List the particles whose images were left out, if there are any."""
    places = feed.bad.places()
    if len(places):
        write_particles(path, listed_particles(feed.particles.take(places), data))
        LOGGER.warning("%s: %d particles with images that are not finite were left out", path, len(places))


def _has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint to go on from; a run stopped before its first starts over."""
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        found = checkpoints.latest() is not None
    if not found:
        LOGGER.warning("%s: stopped before its first checkpoint; training starts over", folder)
    return found
