"""Train a model on a particle set: everything between the options and the run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from libhetero import models
from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError, DataError, StoppedEarly
from libhetero.io import (
    ImageReader,
    read_gaussians,
    read_volume,
    write_gaussians,
    write_particles,
)
from libhetero.models.family import ModelFamily
from libhetero.pipelines.mid_latent import write_mid
from libhetero.pipelines.preparation import SAMPLE, measured
from libhetero.pipelines.reference import reference_projector
from libhetero.pipelines.refine_config import (
    MODEL_CONFIGS,
    RefineConfig,
    new_config,
    resumed_config,
)
from libhetero.pipelines.run_folder import (
    RunConfig,
    listed_particles,
    load_particles,
    read_arrays,
    write_arrays,
    write_config,
)
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import Batch, Gaussians
from libhetero.report.training import draw_training
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.feed import ParticleFeed
from libhetero.training.held_out import split
from libhetero.training.log import read_log
from libhetero.training.loop import train
from libhetero.training.preprocess import sample_indices
from libhetero.training.processes import joined as joined_processes
from libhetero.training.processes import processes_asked

LOGGER = logging.getLogger(__name__)
LATENTS = "mid_00.txt"  # written last
SUBSPACE_SAMPLE = 4096  # particles
MASK_LEVEL = 0.5
SAMPLE_BYTES = 2**28  # of their images


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
    with joined_processes(processes_asked(*config.processes, os.environ), joined):
        result = _train(config, new_folder, started, progress)
    if not result.finished:
        raise StoppedEarly(
            f"stopped as the system asked, after step {result.step}; the checkpoint is written. "
            f"Go on with --resume {result.folder}."
        )
    return result


def _train(
    config: RefineConfig,
    new_folder: Callable[[], Path] | None,
    started: Callable[[Path], object] | None,
    progress: Callable[[float], None] | None,
) -> RefineResult:
    config = _settled(config)
    if config.requeue and config.resume is not None and (Path(config.resume) / LATENTS).exists():
        resumed_config(config)  # the same command, or a mistake
        LOGGER.info("%s: this run is finished; nothing is left to do", config.resume)
        return RefineResult(Path(config.resume), read_log(Path(config.resume) / "log.jsonl")[-1]["step"], True)
    if config.resume is not None:
        folder, run_config = Path(config.resume), resumed_config(config)
        particles = load_particles(run_config.data)
        feed = ParticleFeed(ImageReader(particles), particles, run_config.data.preprocess)
        model = models.build(run_config.family, run_config.model, read_arrays(folder))
    else:
        folder, run_config, feed, model = _start(config, new_folder)
        if started is not None and sharding.is_writer():
            started(folder)
    LOGGER.info(
        "%s: %d particles, box %d, %.4g Å per pixel, %d device(s)",
        folder, len(feed), feed.box_size, feed.pixel_size, jax.device_count(),
    )  # fmt: skip
    key = jax.random.key(run_config.training.seed)
    resumes = config.resume is not None and _has_checkpoint(folder)
    params = jax.eval_shape(model.init, key) if resumes else jax.jit(model.init)(key)
    result = train(
        model, params, feed, run_config.training, folder,
        resume=resumes, progress=progress,
    )  # fmt: skip
    if result.finished and sharding.is_writer():
        write_mid(folder / LATENTS, model, result.params, feed, run_config.training.batch_size)
        draw_training(folder / "loss.png", read_log(folder / "log.jsonl"))
    sharding.wait_for_all("refined")
    return RefineResult(folder, result.step, result.finished)


def _settled(config: RefineConfig) -> RefineConfig:
    """Return what a requeued run has to do: go on in its folder if it has begun, or begin it.

    Process 0 decides for all: it may have made the folder before another process looks.
    """
    if not config.requeue or config.resume is not None:
        return config
    begun = sharding.said_by_writer(lambda: str((Path(config.folder) / "config.json").exists()))
    return dataclasses.replace(config, folder=None, resume=config.folder) if begun == "True" else config


def _has_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint to go on from; a run stopped before its first starts over."""
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        found = checkpoints.latest() is not None
    if not found:
        LOGGER.warning("%s: stopped before its first checkpoint; training starts over", folder)
    return found


def _start(
    config: RefineConfig, new_folder: Callable[[], Path] | None
) -> tuple[Path, RunConfig, ParticleFeed, ModelFamily]:
    """Check everything, measure the particles, make the model and its folder."""
    run_config = new_config(config)
    particles = load_particles(run_config.data)
    symmetry = run_config.model.get("symmetry", "c1")
    project = reference_projector(run_config.data.reference, particles, symmetry)
    preprocess = measured(
        run_config.data.preprocess, particles, config.contrast, run_config.training.seed, project
    )
    data = dataclasses.replace(
        run_config.data.absolute(), preprocess=preprocess, count=len(particles)
    )
    feed = ParticleFeed(ImageReader(particles), particles, preprocess)
    gaussians = _starting_gaussians(run_config, feed)
    mobile = _mobile(run_config, gaussians)
    model = models.create(
        run_config.family,
        from_dict(MODEL_CONFIGS[run_config.family], run_config.model),
        box_size=feed.box_size,
        pixel_size=feed.pixel_size,
        sample=_sample(feed, run_config),
        gaussians=gaussians,
        mobile=mobile,
        seed=run_config.training.seed,
    )
    _check_finite(model)
    run_config = dataclasses.replace(run_config, data=data, model=to_dict(model.config))
    with _new_folder(config.folder, new_folder) as folder:
        if sharding.is_writer():
            write_arrays(folder, model)
            write_particles(folder / "ptcls_00.lst", listed_particles(particles, data))
            if gaussians is not None:
                write_gaussians(folder / "model_00.txt", gaussians, feed.box_size, feed.pixel_size)
            write_config(folder, run_config)  # last: what holds it has all of a run
    return folder, run_config, feed, model


def _sample(feed: ParticleFeed, config: RunConfig) -> Batch:
    """Return the particles that the model's statistics are measured on; more for Gaussians' subspace."""
    most = SAMPLE
    if config.family == "gmm" and config.model["encoder"] == "posterior":
        most = max(SAMPLE, min(SUBSPACE_SAMPLE, SAMPLE_BYTES // (4 * feed.box_size**2)))
    training, _ = split(len(feed), config.training)
    LOGGER.info("measuring %d particles", min(most, len(training)))
    return feed.batch(training[sample_indices(len(training), most, config.training.seed)])


def _check_finite(model: ModelFamily) -> None:
    """Refuse a model whose statistics are not numbers, before it is trained."""
    for name, array in model.arrays().items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"the model's {name} is not finite; expected numbers. Compare the starting model "
                "(position, width) with the particles (box, pixel size)."
            )


def _starting_gaussians(config: RunConfig, feed: ParticleFeed) -> Gaussians | None:
    if config.family != "gmm" or config.data.reference is None:
        return None
    path = config.data.reference
    if not path.endswith(".txt"):
        raise DataError(
            f"{path}: a Gaussian model starts from Gaussians; expected a .txt. Make one from this "
            "map with e2hype_guess_n.py."
        )
    return read_gaussians(path, feed.box_size, feed.pixel_size)


def _mobile(config: RunConfig, gaussians: Gaussians | None) -> np.ndarray | None:
    """Return which Gaussians the mask lets change: those of which a symmetric copy lies in it."""
    path = config.data.mask
    if path is None or gaussians is None:
        return None
    mask, pixel_size = read_volume(path)
    if len(set(mask.shape)) > 1:
        raise DataError(
            f"{path}: the mask is {mask.shape[2]}×{mask.shape[1]}×{mask.shape[0]}; expected a cube."
        )
    operators = symmetry_operators(config.model["symmetry"])
    position = np.asarray(symmetric_copies(gaussians, operators).position)
    voxel = np.rint(position[:, ::-1] / pixel_size).astype(int) + mask.shape[0] // 2
    inside = np.all((voxel >= 0) & (voxel < mask.shape[0]), axis=1)
    inside &= mask[tuple(np.where(inside[:, None], voxel, 0).T)] > MASK_LEVEL
    mobile = inside.reshape(len(operators), -1).any(axis=0)
    if not mobile.any():
        raise DataError(
            f"{path}: 0 of {len(mobile)} Gaussians lie where it is above {MASK_LEVEL}; expected some. "
            "Compare box, pixel size and origin with those of the particles."
        )
    LOGGER.info("%s: %d of %d Gaussians may change", path, np.count_nonzero(mobile), len(mobile))
    return mobile


@contextlib.contextmanager
def _new_folder(name: str | None, new_folder: Callable[[], Path] | None) -> Iterator[Path]:
    """Make the run folder; remove it if what a run needs cannot be written into it."""
    existed = name is not None and Path(name).exists()
    folder = Path(sharding.said_by_writer(lambda: str(_make_folder(name, new_folder))))
    try:
        yield folder
    except BaseException:
        if not existed and sharding.is_writer():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _make_folder(name: str | None, new_folder: Callable[[], Path] | None) -> Path:
    if name is None:
        if new_folder is None:
            raise ConfigurationError("no run folder was named; expected one.")
        return Path(new_folder())
    folder = Path(name)
    if (folder / "config.json").exists():
        raise ConfigurationError(
            f"{folder}: already holds a run; go on with --resume {folder}, or name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
