"""The folder of a training run: written by refinement, read strictly by everything after it.

config.json     format_version, family, model, training, data
model.npz       geometry and statistics of the model
checkpoints/    parameters and optimiser
log.jsonl, mid_00.txt, ptcls_00.lst, model_00.txt (Gaussian model), loss.png, samples.png
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from libhetero import models
from libhetero.errors import DataError
from libhetero.files import DiskError, replacing, sweep
from libhetero.io.arrays import array_names, read_arrays
from libhetero.models.families import family_named
from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.configuration import RunConfig, read_config
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.particle_record import SAME_PIXEL, particles_of_run
from libhetero.pipelines.run.particles import feed_of
from libhetero.records import Batch, ParticleSet
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.feed import ParticleFeed, fitting_batches

LATENTS = "mid_00.txt"  # written last
REMEDY = "restore the file, or train the run again"

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Run:
    """A trained run.

    Parameters
    ----------
    folder : the run folder.
    config : what it is.
    model : the model, see `libhetero.models.family`.
    params : its parameters (the running average where it was on).
    particles : with poses and CTF.
    """

    folder: Path
    config: RunConfig
    model: ModelFamily
    params: Any
    particles: ParticleSet

    def feed(self) -> ParticleFeed:
        """Return the particles, prepared as they were in training."""
        return if_cached(feed_of(self.particles, self.config.data), self.config.data.cache)


def open_run(folder: str | Path) -> Run:
    """Open a run folder for reading.

    Raises
    ------
    ConfigurationError : if config.json is missing, damaged, or has keys this version lacks.
    DataError : if the model, its checkpoint or the particles are missing or do not fit, or the list has changed.
    """
    folder = Path(folder)
    try:
        sweep(folder)
    except DiskError as error:  # it can be read nevertheless
        LOGGER.warning("%s", error)
    config = read_config(folder)
    particles = particles_of_run(folder, config.data)
    model = stored_model(folder, config, particles)
    shapes = jax.eval_shape(model.init, jax.random.key(config.training.seed))
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        params = checkpoints.restore_params(shapes, config.training)
    return Run(folder, config, model, params, particles)


def batches(run: Run, batch_size: int, indices: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield the particles in order as NumPy batches of one shape, the last padded at weight 0.

    An image that is not finite is zeros at weight 0, too, in its place.

    Parameters
    ----------
    batch_size : at most so many at a time; no more than there are.
    indices : places in `run.particles`, in the order wanted; None for all.
    """
    return fitting_batches(run.feed(), batch_size, indices)


def write_arrays(folder: Path, model: ModelFamily) -> None:
    """Write model.npz beside its place and rename it there."""
    with replacing(Path(folder) / "model.npz") as beside:
        np.savez(beside, **model.arrays())  # type: ignore[arg-type]  # none is called allow_pickle


def stored_model(folder: Path, config: RunConfig, particles: ParticleSet) -> ModelFamily:
    """Return the model that a run keeps in model.npz.

    Raises
    ------
    DataError : if it is missing or is not as the model's family declares it, naming the array, or is of images of
        another size than the particles'.
    """
    path = Path(folder) / "model.npz"
    if not path.exists():
        raise DataError(f"{path}: no such file; is {folder} a run folder?")
    schema = family_named(config.family).stored(config.model, array_names(path, REMEDY))
    arrays = read_arrays(path, schema, REMEDY)
    try:
        model = models.build(config.family, config.model, arrays)
    except DataError as error:
        raise DataError(f"{path}: {error}; {REMEDY}.") from None
    stored = particles.uniform_box_size()
    box = config.data.preprocess.box_size or stored
    pixel_size = particles.uniform_pixel_size() * stored / box
    if model.box_size != box or abs(model.pixel_size / pixel_size - 1) > SAME_PIXEL:
        raise DataError(
            f"{path}: the model is of {model.box_size} pixels of {model.pixel_size:.4g} Å, the particles' images are "
            f"{box} of {pixel_size:.4g} Å; expected the same. Restore the list, or train a new run."
        )
    return model
