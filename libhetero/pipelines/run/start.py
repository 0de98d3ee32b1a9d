"""What a run starts with: a new one is checked and measured, a stored one opened again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Int

from libhetero import models
from libhetero.configuration import to_dict
from libhetero.errors import ConfigurationError, DataError
from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.batch import with_largest_batch
from libhetero.pipelines.run.configuration import CONFIG, RunConfig, new_config, resumed_config
from libhetero.pipelines.run.folder import read_arrays
from libhetero.pipelines.run.particles import feed_of, load_particles
from libhetero.pipelines.run.preparation import SAMPLE, measured, of_finite_images
from libhetero.pipelines.run.reference import reference_projector
from libhetero.pipelines.run.starting_mixture import mobile_gaussians, starting_gaussians, unit_symmetry
from libhetero.records import Batch, Gaussians
from libhetero.training import sharding
from libhetero.training.feed import ParticleFeed
from libhetero.training.held_out import split
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunStart:
    """What a run starts with.

    Parameters
    ----------
    config : its configuration, complete.
    feed : the particles as listed, their images prepared.
    model : measured on a sample of them.
    gaussians : the starting mixture of a new run; None where it has none.
    folder : the run folder to go on in; None for a new run.
    """

    config: RunConfig
    feed: ParticleFeed
    model: ModelFamily
    gaussians: Gaussians | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        """Return what there is to train on."""
        feed = self.feed
        return (
            f"{len(feed)} particles, box {feed.box_size}, {feed.pixel_size:.4g} Å per pixel, "
            f"{jax.device_count()} device(s)"
        )

    @cached_property
    def trained_on(self) -> Int[np.ndarray, " particles"]:
        """Places of the particles that are trained on, in rising order; the others are held out."""
        return split(len(self.feed), self.config.training)[0]


def start_of(asked: RefineConfig) -> RunStart:
    """Return what the run that was asked for starts with; nothing is written.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    folder = _folder_to_go_on_in(asked)
    if folder is not None:
        return _reopened(resumed_config(asked, folder), folder)
    start = _measured(new_config(asked), asked.contrast)
    if not asked.automatic_batch:
        return start
    training = with_largest_batch(start.config.training, start.model, start.feed, len(start.trained_on))
    return dataclasses.replace(start, config=dataclasses.replace(start.config, training=training))


def seen_by_writer(path: Path) -> bool:
    """Return whether process 0 sees the file: it may have made it since, or another one may not see it yet."""
    return sharding.said_by_writer(lambda: str(path.exists())) == "True"


def _folder_to_go_on_in(asked: RefineConfig) -> Path | None:
    """Return the folder of the run to go on with: the one named, or that of a requeued run which has begun."""
    if asked.resume is not None:
        return Path(asked.resume)
    begun = asked.requeue and seen_by_writer(Path(asked.folder) / CONFIG)
    return Path(asked.folder) if begun else None


def _reopened(config: RunConfig, folder: Path) -> RunStart:
    """Open a stored run again."""
    model = models.build(config.family, config.model, read_arrays(folder))
    return RunStart(config, feed_of(load_particles(config.data), config.data), model, folder=folder)


def _measured(config: RunConfig, contrast: int | None) -> RunStart:
    """Check everything, measure the particles and make the model of a new run."""
    particles = load_particles(config.data)
    project = reference_projector(config.data.reference, particles, unit_symmetry(config))
    feed = measured(feed_of(particles, config.data), contrast, config.training.seed, project)
    gaussians = starting_gaussians(config, feed)
    model = models.create(
        config.family,
        config.model,
        box_size=feed.box_size,
        pixel_size=feed.pixel_size,
        sample=_sample(config, feed),
        gaussians=gaussians,
        mobile=None if gaussians is None else mobile_gaussians(config, gaussians),
        seed=config.training.seed,
    )
    _check_finite(model)
    data = dataclasses.replace(config.data.absolute(), preprocess=feed.config, count=len(feed))
    config = dataclasses.replace(config, data=data, model=model.config)
    _check_alike(config, model)
    return RunStart(config, feed, model, gaussians)


def _sample(config: RunConfig, feed: ParticleFeed) -> Batch:
    """Return the particles that the model's statistics are measured on."""
    training, _ = split(len(feed), config.training)
    most = min(config.model.sample_size(feed.box_size, SAMPLE), len(training))
    LOGGER.info("measuring %d particles", most)
    return of_finite_images(feed.batch(training[sample_indices(len(training), most, config.training.seed)]))


def _check_finite(model: ModelFamily) -> None:
    """Refuse a model whose statistics are not numbers, before it is trained."""
    for name, array in model.arrays().items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"the model's {name} is not finite; expected numbers. Compare the starting model "
                "(position, width) with the particles (box, pixel size)."
            )


def _check_alike(config: RunConfig, model: ModelFamily) -> None:
    """Refuse to train where processes have measured different models, as different processors may."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode())
    for name, array in sorted(model.arrays().items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    own = digest.hexdigest()
    if sharding.said_by_writer(lambda: own) != own:
        raise ConfigurationError(
            "this process has measured another model than process 0; expected the same on all. Start all on "
            "processors of one kind, with the same command."
        )
