"""A run that begins: everything checked, the particles measured, the model made; then its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import jax
import numpy as np

from libhetero import models
from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import write_gaussians, write_particles
from libhetero.io.pose_changes import at_given_poses, at_refined_poses
from libhetero.io.tilt_series import apart
from libhetero.models.families import family_named
from libhetero.models.family import MixtureFamily, ModelFamily
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.pipelines.classifying.poses import refined_poses
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.batch import refuse_parts, with_largest_batch
from libhetero.pipelines.run.configuration import RunConfig, new_config, with_model, write_config
from libhetero.pipelines.run.directions import DIRECTIONS, write_directions
from libhetero.pipelines.run.folder import write_arrays
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.new_folder import check_new, making
from libhetero.pipelines.run.particle_record import LIST, write_record
from libhetero.pipelines.run.particles import feed_of, listed_particles, load_particles
from libhetero.pipelines.run.poses import REFINED, refines_first, write_poses
from libhetero.pipelines.run.preparation import further_of, measured, sample_of
from libhetero.pipelines.run.reference import reference_projector
from libhetero.pipelines.run.sharper_start import sharper_start
from libhetero.pipelines.run.start import RunStart
from libhetero.pipelines.run.starting_classes import starting_classes
from libhetero.pipelines.run.starting_mixture import mobile_gaussians, refuse_other_starts, starting_mixture
from libhetero.records import Batch, Gaussians, ParticleSet, PoseChange
from libhetero.telling.waiting import working
from libhetero.training import sharding
from libhetero.training.feed import ParticleFeed
from libhetero.training.held_out import split
from libhetero.training.series import drawn_from

LOGGER = logging.getLogger(__name__)
IMAGES_OF_STEP = 160  # of tilt series, Gaussians: of more a step, borders of pieces are not found in the usual epochs


@dataclass(frozen=True)
class NewRun:
    """A run to begin; see `libhetero.pipelines.run.wanted.WantedRun`.

    Parameters
    ----------
    asked : what was asked for.
    """

    asked: RefineConfig

    def start(self) -> RunStart:
        """Check everything, measure the particles, make the model and choose the batch; nothing is written."""
        check_new(self.asked.folder)
        config = new_config(self.asked)
        refuse_other_starts(config)
        config, particles = with_series(config, load_particles(config.data))
        project = reference_projector(config.data.reference, particles, config.model.symmetry)
        feed = feed_of(particles, config.data)
        gaussians, mobile = starting_mixture(config, feed)  # before anything is measured, as they may not do
        known = starting_classes(config.data, particles)
        with working(LOGGER.info, f"reading images of {len(feed)} particles for what is measured of them"):
            feed = measured(feed, self.asked.contrast, config.training.seed, project)
        feed = self._at_poses(config, feed, known)
        trained_on, _ = split(len(drawn_from(feed)), config.training)
        with working(LOGGER.info, f"reading images of {len(feed)} particles for the model's start"):
            sample = sample_of(config, feed, trained_on)
            further = further_of(config, feed, trained_on)
        count = sum(len(part.weight) // part.views for part in (sample, further) if part is not None)
        LOGGER.info("measuring %d particles", count)
        if count < len(trained_on) and family_named(config.family).mixtures and config.model.encoder == "posterior":
            LOGGER.info("the search for what changes sees %d of %d particles", count, len(trained_on))
        create = partial(
            models.create,
            config.family,
            config.model,
            box_size=feed.box_size,
            pixel_size=feed.pixel_size,
            sample=sample,
            mobile=mobile,
            known=known,
            further=further,
            seed=config.training.seed,
        )
        with working(LOGGER.info, f"measuring {count} particles"):
            model = create(gaussians=gaussians)
            _check_finite(model)
            sharper = _sharper(config, model, gaussians, sample, feed)
            if sharper is not None:
                gaussians, model = sharper, create(gaussians=sharper, mobile=mobile_gaussians(config, sharper, feed))
                _check_finite(model)
        model = of_process_0(config.family, model)
        data = config.data.seen(feed.config, len(feed))
        config = with_model(config, self.asked, model.config, data, _batch_of_series(drawn_from(feed).views))
        _check_alike(config)  # before anything is compiled to choose the batch
        if self.asked.automatic_batch:
            training = with_largest_batch(config.training, model, drawn_from(feed), len(trained_on))
            config = dataclasses.replace(config, training=training)
        return RunStart(config, feed, trained_on, model, gaussians)

    def _at_poses(self, config: RunConfig, feed: ParticleFeed, known: KnownClasses | None) -> ParticleFeed:
        """Return the particles at the poses that training takes, refined by process 0 where that comes first."""
        if not refines_first(config):
            return feed
        if self.asked.dry_run:
            LOGGER.info("poses are refined before training; here they are left out, and so is the time that takes")
            return feed
        given = dataclasses.replace(feed, particles=at_given_poses(feed.particles))
        change = _of_process_0(
            lambda: vars(refined_poses(if_cached(given, config.data.cache), config.training.seed, known))
        )
        return dataclasses.replace(feed, particles=at_refined_poses(given.particles, PoseChange(**change)))

    def finished(self, start: RunStart) -> None:
        """Return None: everything is left to do."""

    def folder(
        self, start: RunStart, new_folder: Callable[[], Path] | None, started: Callable[[Path], object] | None
    ) -> Path:
        """Make the run folder and fill it with all but what training writes.

        Raises
        ------
        ConfigurationError : if the folder holds a run already.
        """
        with making(self.asked.folder, new_folder) as folder:
            if sharding.is_writer():
                _write(start, folder)
        if started is not None and sharding.is_writer():
            started(folder)
        return folder


def with_series(config: RunConfig, particles: ParticleSet) -> tuple[RunConfig, ParticleSet]:
    """Return a run with its tilt series, or with each image as a particle of its own where its model takes no series.

    Raises
    ------
    ConfigurationError : for batches in parts, which would cut particles.
    """
    if particles.group is None:
        return config, particles
    if not config.model.takes_series:
        LOGGER.warning(
            "%s: its %d images show %d particles (tilt series); this model takes each image for a particle of its own",
            config.data.particles,
            len(particles),
            particles.distinct,
        )
        return dataclasses.replace(config, data=dataclasses.replace(config.data, tilts="apart")), apart(particles)
    refuse_parts(config.training)
    return config, particles


def _batch_of_series(views: int) -> int | None:
    """Return how many particles of so many images Gaussians take a step, for each device one at least; None of one."""
    return None if views == 1 else max(-(-IMAGES_OF_STEP // views), jax.device_count())


def _sharper(
    config: RunConfig, model: ModelFamily, gaussians: Gaussians | None, sample: Batch, feed: ParticleFeed
) -> Gaussians | None:
    """Return Gaussians to begin again with, where the first search finds that poses have blurred the given ones."""
    if gaussians is None:
        return None

    def found() -> dict[str, np.ndarray]:
        mixtures, symmetry = cast(MixtureFamily, model), config.model.symmetry
        sharper = sharper_start(mixtures, gaussians, sample, symmetry, feed.box_size, feed.pixel_size)
        return {} if sharper is None else vars(sharper)

    made = _of_process_0(found)  # which decides for all
    return Gaussians(**made) if made else None


def _check_finite(model: ModelFamily) -> None:
    """Refuse a model whose statistics are not numbers, before it is trained."""
    for name, array in model.arrays().items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"the model's {name} is not finite; expected numbers. Compare the starting model "
                "(position, width) with the particles (box, pixel size)."
            )


def of_process_0(family: str, model: ModelFamily) -> ModelFamily:
    """Return the model that process 0 has measured, in all processes.

    GPUs add up in no fixed order, and where a search decides by such sums, processes may come to different models.
    """
    if jax.process_count() == 1:
        return model
    told = sharding.said_by_writer(lambda: json.dumps(to_dict(model.config)))
    arrays = _of_process_0(model.arrays)
    if sharding.is_writer():
        return model
    chosen = family_named(family)
    return chosen.model().from_arrays(from_dict(chosen.config, json.loads(told)), arrays)


def _of_process_0(make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return in all processes the arrays that process 0 makes."""
    if jax.process_count() == 1:
        return make()
    stored = sharding.sent_by_writer(lambda: _stored(make()))
    with np.load(io.BytesIO(stored), allow_pickle=False) as found:
        return dict(found)


def _stored(arrays: dict[str, np.ndarray]) -> bytes:
    """Return arrays as the bytes of an .npz."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _check_alike(config: RunConfig) -> None:
    """Refuse to train where processes were asked for, or have measured of the particles, what differs."""
    if jax.process_count() == 1:
        return
    own = hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()
    if sharding.said_by_writer(lambda: own) != own:
        raise ConfigurationError(
            "this process has another configuration than process 0; expected the same on all. Start all on "
            "processors of one kind, with the same command."
        )


def _write(start: RunStart, folder: Path) -> None:
    write_arrays(folder, start.model)
    feed = start.feed
    write_record(folder, at_given_poses(feed.particles))
    if feed.particles.given is not None:
        write_poses(folder / REFINED, feed.particles.given.change)
    write_particles(folder / LIST, listed_particles(feed.particles, start.config.data))
    if start.gaussians is not None:
        write_gaussians(folder / "model_00.txt", start.gaussians, feed.box_size, feed.pixel_size)
        write_directions(folder / DIRECTIONS, start.model.directions())  # type: ignore[attr-defined]
    write_config(folder, start.config)  # last: what holds it has all of a run
