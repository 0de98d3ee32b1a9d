"""The folder of a training run: written by refinement, read strictly by everything after it.

config.json     format_version, family, model, training, data
model.npz       geometry and statistics of the model
checkpoints/    parameters and optimiser
epochs/         parameters after some epochs
epoch_NN/       what other programs have made of these (--epoch NN)
embeddings/, segmentations/
                what each call of e2hype_embed.py and e2hype_segment.py has found
log.jsonl, mid_00.txt, ptcls_00.lst, model_00.txt (Gaussian model), loss.png, samples.png
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from libhetero import models
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import DiskError, replacing, sweep
from libhetero.io.arrays import array_names, read_arrays
from libhetero.models.families import family_named
from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.configuration import RunConfig, read_config
from libhetero.pipelines.run.epoch_folder import epoch_folder, run_and_epoch
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.kept import EMBEDDINGS, SEGMENTATIONS, chosen
from libhetero.pipelines.run.particle_record import SAME_PIXEL, particles_of_run
from libhetero.pipelines.run.particles import feed_of
from libhetero.pipelines.run.poses import trained_poses
from libhetero.pipelines.run.reached import Reached
from libhetero.records import Batch, ParticleSet
from libhetero.training.checkpoint import CheckpointFolder, EpochFolder, Restored
from libhetero.training.feed import ParticleFeed, fitting_batches

LATENTS = "mid_00.txt"  # written last
CHECKPOINTS, EPOCHS = "checkpoints", "epochs"
REMEDY = "restore the file, or train the run again"

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Run:
    """A trained run.

    Parameters
    ----------
    folder : the run folder; of an earlier epoch of it, the folder of that.
    config : what it is.
    model : the model, see `libhetero.models.family`.
    params : its parameters (the running average where it was on).
    particles : with poses and CTF.
    reached : where training has come to; None for what was not read from a folder.
    written : when its parameters were, in seconds as the system tells of files; None where that is not known.
    embedding, segmentation : names of those that are read (`libhetero.pipelines.run.kept`); None for the latest.
    """

    folder: Path
    config: RunConfig
    model: ModelFamily
    params: Any
    particles: ParticleSet
    reached: Reached | None = None
    written: float | None = None
    embedding: str | None = None
    segmentation: str | None = None

    def reading(self, embedding: str | None, segmentation: str | None = None) -> Run:
        """Return the run with the embedding and the segmentation that are read, by their names; None for the latest.

        Raises
        ------
        ConfigurationError : if there is none of that name.
        """
        for kind, name in ((EMBEDDINGS, embedding), (SEGMENTATIONS, segmentation)):
            chosen(self.folder, kind, name)  # before anything long is done
        return dataclasses.replace(self, embedding=embedding, segmentation=segmentation)

    @property
    def classes_folder(self) -> Path:
        """Where plane and classes of the particles are read."""
        return chosen(self.folder, EMBEDDINGS, self.embedding)

    @property
    def regions_folder(self) -> Path:
        """Where regions, and classes of particles by them, are read."""
        return chosen(self.folder, SEGMENTATIONS, self.segmentation)

    def feed(self) -> ParticleFeed:
        """Return the particles, prepared as they were in training."""
        return if_cached(feed_of(self.particles, self.config.data), self.config.data.cache)


def open_run(folder: str | Path, epoch: int | None = None) -> Run:
    """Open a run folder for reading, say which epoch is used, and warn where training is not finished.

    Parameters
    ----------
    folder : of the run, or RUN/epoch_NN.
    epoch : whose parameters are used; None for the last ones. What is made of them belongs into RUN/epoch_NN, which
        is made here and is the folder of the run that is returned.

    Raises
    ------
    ConfigurationError : if config.json is missing, damaged, or has keys this version lacks, or the epoch is not kept.
    DataError : if the model, its checkpoint or the particles are missing or do not fit, or the list has changed.
    """
    folder, of_folder = run_and_epoch(folder)
    epoch = of_folder if epoch is None else epoch
    try:
        sweep(folder)
    except DiskError as error:  # it can be read nevertheless
        LOGGER.warning("%s", error)
    config = read_config(folder)
    particles = trained_poses(folder, config, particles_of_run(folder, config.data))
    model = stored_model(folder, config, particles)
    shapes = jax.eval_shape(model.init, jax.random.key(config.training.seed))
    if epoch is not None:
        return _run_of_epoch(Run(folder, config, model, shapes, particles), epoch, of_folder is not None)
    with CheckpointFolder(folder / CHECKPOINTS) as checkpoints:
        restored = checkpoints.restored(shapes, config.training)
    reached = Reached.of(config, particles.distinct, restored)
    reached.tell(folder)
    written = _newest([folder / CHECKPOINTS / str(restored.step)])
    return Run(folder, config, model, restored.params, particles, reached, written)


def _run_of_epoch(run: Run, epoch: int, by_folder: bool) -> Run:
    """Return a run, whose parameters are their shapes, with those of an epoch, and a folder of its own.

    Parameters
    ----------
    by_folder : whether the epoch was asked for by the name of that folder.
    """
    plain = dataclasses.replace(run.config.training, test_fraction=0.0)  # those then, not the best until then
    with EpochFolder(run.folder / EPOCHS) as epochs, CheckpointFolder(run.folder / CHECKPOINTS) as checkpoints:
        kept, steps = epochs.steps(), checkpoints.steps()
        per_epoch = Reached.of(run.config, run.particles.distinct, Restored(None, 0)).per_epoch
        place, restored = epochs.place(epoch), epochs.restored_epoch(epoch, run.params)
        if restored is None:
            place = checkpoints.place(epoch * per_epoch)
            restored = checkpoints.restored_step(epoch * per_epoch, run.params, plain)
    if restored is None:
        there = sorted({*kept, *(step // per_epoch for step in steps if step and step % per_epoch == 0)})
        asked = epoch_folder(run.folder, epoch) if by_folder else f"--epoch {epoch}"
        raise ConfigurationError(
            f"{asked}: {run.folder} does not keep the parameters of this epoch; expected one of "
            f"{', '.join(map(str, there)) or 'those it keeps, which are none'}. Training keeps every N-th with "
            "--keep_epochs N."
        )
    reached = Reached.of(run.config, run.particles.distinct, restored, chosen=True)
    folder = epoch_folder(run.folder, epoch)
    reached.tell(run.folder)
    LOGGER.info("%s: what is made of this epoch goes there", folder)
    folder.mkdir(exist_ok=True)
    return dataclasses.replace(run, folder=folder, params=restored.params, reached=reached, written=_newest([place]))


def latents_are_current(folder: Path, written: float | None = None) -> bool:
    """Return whether a run's latents are there, and as new as its parameters.

    Parameters
    ----------
    written : when the parameters were (`Run.written`); None for those of the folder's newest checkpoint.
    """
    latents = _newest([Path(folder) / LATENTS])
    if written is None:
        written = _newest((Path(folder) / CHECKPOINTS).glob("*"))
    return latents is not None and (written is None or latents >= written)


def _newest(paths: Iterable[Path]) -> float | None:
    """Return when the newest of some paths was written; None without any, as a run that trains removes some."""
    times = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times, default=None)


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
