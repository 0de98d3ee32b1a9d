"""The folder of a training run: written by refinement, read strictly by everything after it.

config.json     format_version, family, model, training, data
model.npz       geometry and statistics of the model
checkpoints/    parameters and optimiser
log.jsonl, mid_00.txt, ptcls_00.lst, model_00.txt (Gaussian model), loss.png, samples.png
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from libhetero import models
from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.configuration import RunConfig, read_config
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.particles import feed_of, load_particles
from libhetero.records import Batch, ParticleSet
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.feed import ParticleFeed, feed_batches

LATENTS = "mid_00.txt"  # written last


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
    DataError : if the model, its checkpoint or the particles are missing or do not fit.
    """
    folder = Path(folder)
    config = read_config(folder)
    model = models.build(config.family, config.model, read_arrays(folder))
    shapes = jax.eval_shape(model.init, jax.random.key(config.training.seed))
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        params = checkpoints.restore_params(shapes, config.training)
    return Run(folder, config, model, params, load_particles(config.data))


def batches(run: Run, batch_size: int, indices: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield the particles in order as NumPy batches of one shape, the last padded at weight 0.

    An image that is not finite is zeros at weight 0, too, in its place.

    Parameters
    ----------
    indices : places in `run.particles`, in the order wanted; None for all.
    """
    return feed_batches(run.feed(), batch_size, indices)


def write_arrays(folder: Path, model: ModelFamily) -> None:
    """Write model.npz beside its place and rename it there."""
    with replacing(Path(folder) / "model.npz") as beside:
        np.savez(beside, **model.arrays())  # type: ignore[arg-type]  # none is called allow_pickle


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read model.npz."""
    path = Path(folder) / "model.npz"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is {folder} a run folder?") from None
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); train the run again.") from error
