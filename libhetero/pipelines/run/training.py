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
from libhetero.pipelines.decoding.particle_findings import write_particle_findings
from libhetero.pipelines.run.batch import encoded_at_once, naming_remedies
from libhetero.pipelines.run.configuration import write_config
from libhetero.pipelines.run.folder import LATENTS
from libhetero.pipelines.run.image_cache import cached
from libhetero.pipelines.run.lock import locked
from libhetero.pipelines.run.particles import listed_particles
from libhetero.pipelines.run.start import RunStart
from libhetero.pipelines.run.watching import RunWatch, shown_places
from libhetero.records import Posterior
from libhetero.telling.stopping import stopped_early
from libhetero.training import sharding
from libhetero.training.budget import CompiledStep
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.interruption import heard_by_jax
from libhetero.training.loop import TrainingResult, train

LOGGER = logging.getLogger(__name__)


def trained(
    start: RunStart,
    folder: Path,
    program: CompiledStep,
    tensorboard: bool,
    progress: Callable[[float], None] | None,
    go_on: str | None = None,
) -> TrainingResult:
    """Train in a run folder, which nobody else does meanwhile, and write what a finished run leaves.

    Parameters
    ----------
    folder : written, or gone on in.
    program : its step.
    tensorboard : whether to write events for TensorBoard.
    progress : called with the fraction done.
    go_on : how to go on after a stop, in words; None for --resume with the folder.
    """
    go_on = go_on or _resuming(folder)
    with locked(folder):
        if sharding.is_writer():
            write_config(folder, start.config)  # what may change on resuming has
        start = dataclasses.replace(start, feed=cached(start.feed, start.config.data.cache))
        sharding.wait_for_all("fed")  # filling takes longer on one machine than on another
        with naming_remedies(start.config.training):
            result = _steps(start, folder, program, tensorboard, progress, go_on)
            if result.finished and sharding.is_writer():
                _finish(start, folder, result, go_on)
    sharding.wait_for_all("refined")
    return result


def _resuming(folder: Path) -> str:
    """Return the option that goes on with a run."""
    return f"--resume {folder}"


def _steps(
    start: RunStart,
    folder: Path,
    program: CompiledStep,
    tensorboard: bool,
    progress: Callable[[float], None] | None,
    go_on: str,
) -> TrainingResult:
    """Take the steps that are left, watched."""
    model, config = start.model, start.config.training
    key = jax.random.key(config.seed)
    resumes = start.stored and _has_checkpoint(folder)
    params = jax.eval_shape(model.init, key) if resumes else jax.jit(model.init)(key)
    shown = shown_places(start.trained_on, config.seed)
    with RunWatch(folder, model, start.feed, shown, tensorboard=tensorboard) as watch:
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
            program=program,
            go_on=go_on,
        )


def _has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint to go on from, once nobody else can write one."""
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        found = checkpoints.latest() is not None
    if not found:
        LOGGER.warning("%s: stopped before its first checkpoint; training starts over", folder)
    return found


def _finish(start: RunStart, folder: Path, result: TrainingResult, go_on: str) -> None:
    """Say whether more training would help, and write the latents.

    Raises
    ------
    StoppedEarly : when it was asked to stop, after which they can be written all the same.
    """
    if result.verdict is not None:
        more = f"; train further with {go_on} --niter {2 * start.config.training.epochs}"
        own = go_on == _resuming(folder)  # else it is trained as a part of what has its own number of epochs
        LOGGER.info("%s: %s%s", folder, result.verdict, more if result.verdict.improving and own else "")
    written = f"training is done, and its checkpoint written. Write the latents with {go_on}."
    with stopped_early(lambda: written, left=heard_by_jax()):
        _write_latents(start, folder, result.params)


def _write_latents(start: RunStart, folder: Path, params: Any) -> None:
    """Write the latent of every particle, what its image says of it, and which particles were left out."""
    feed = start.feed

    def write_beside(posterior: Posterior) -> None:
        _write_bad(folder / "ptcls_bad.lst", start)
        write_particle_findings(folder, feed, start.config.data, posterior)

    if feed.bad is not None:
        feed.bad.without_limit()
    write_mid(folder / LATENTS, start.model, params, feed, encoded_at_once(start.config.training), encoded=write_beside)


def _write_bad(path: Path, start: RunStart) -> None:
    """List the particles whose images were left out, if there are any."""
    feed = start.feed
    if feed.bad is not None and len(feed.bad):
        places = feed.bad.places()
        write_particles(path, listed_particles(feed.particles.take(places), start.config.data))
        LOGGER.warning("%s: %d particles with images that are not finite were left out", path, len(places))
