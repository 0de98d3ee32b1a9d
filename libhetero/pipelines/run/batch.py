"""The batch of a run: the largest that fits, a device's share of it, and what helps where it does not fit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

import jax
import numpy as np

from libhetero.configuration import named
from libhetero.errors import ConfigurationError, TrainingError
from libhetero.files import free_memory
from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.start import RunStart
from libhetero.telling import byte_size
from libhetero.training import sharding
from libhetero.training.budget import (
    BATCHES,
    CompiledStep,
    compiled_step,
    device_memory,
    largest_share,
    rounded_share,
    step_cost,
)
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import ParticleFeed, steps_per_epoch
from libhetero.training.interruption import StopRequest
from libhetero.training.series import SeriesFeed
from libhetero.training.sharding import data_mesh

LOGGER = logging.getLogger(__name__)
FEWEST_STEPS = 32  # an epoch, that a chosen batch leaves
READ_AHEAD = 1.5  # times the pool of images that are in memory where a set is larger than that


def with_largest_batch(
    config: TrainingConfig, model: ModelFamily, feed: ParticleFeed | SeriesFeed, count: int
) -> TrainingConfig:
    """Return the training with the largest batch that fits the devices and leaves an epoch enough steps.

    Parameters
    ----------
    config : how to train; its own batch is not looked at.
    model, feed : what is trained, and on what.
    count : particles trained on.

    Raises
    ------
    UserError : in every process, if one particle a device does not fit, or how much there is nobody tells.
    """
    devices, parts = jax.device_count(), config.accumulate
    most = rounded_share(count // FEWEST_STEPS // (devices * parts))
    params = jax.eval_shape(model.init, jax.random.key(config.seed))
    particle = feed.batch(np.arange(1))

    def choose() -> str:
        """Return a device's share of one part of a batch as process 0 finds it, whose memory stands for all."""

        def needed(share: int) -> int:
            cost = step_cost(model.loss, params, particle, config, share * parts)
            copy = cost.state_bytes // jax.local_device_count() if jax.default_backend() == "cpu" else 0
            return cost.device_bytes + copy  # of a checkpoint

        images = 0.0
        if isinstance(feed, ParticleFeed) and not feed.pool.holds(count, 4 * feed.box_size**2):
            images = READ_AHEAD * feed.pool.size
        memory = usable_memory(round(images))
        if memory is None:
            raise ConfigurationError(
                f"--batchsz auto: how much memory {jax.local_devices()[0].device_kind} has, the system does not tell; "
                "expected a number of particles."
            )
        return str(largest_share(needed, memory, most, particle.views))

    share = int(sharding.said_by_writer(choose))
    bound = f"more would leave an epoch fewer than {FEWEST_STEPS} steps" if share == most else "the largest that fits"
    share *= parts
    if share * devices * FEWEST_STEPS > count:
        steps = steps_per_epoch(count, share * devices)
        bound = f"the smallest there is, of {count} particles to train on; an epoch has {steps} steps"
    LOGGER.info("batch of %d particles, %d a device: %s", share * devices, share, bound)
    return dataclasses.replace(config, batch_size=share * devices)


def refuse_parts(config: TrainingConfig) -> None:
    """Refuse batches in parts, which would cut the images of a particle.

    Raises
    ------
    ConfigurationError : for more than one part.
    """
    if config.accumulate > 1:
        raise ConfigurationError(
            f"{named(config, 'accumulate')} {config.accumulate}: a batch in parts would cut the tilt series of "
            "particles; expected 1. Use a smaller --batchsz, or fewer images of each with --ntilts."
        )


def fitting_step(start: RunStart, go_on: str | None = None) -> CompiledStep:
    """Compile the step of a run, and refuse a batch that the memory cannot hold; nothing is run, or written.

    Parameters
    ----------
    go_on : how to go on when the process is asked to stop meanwhile; None for the same command.

    Raises
    ------
    ConfigurationError : in every process, naming what needs less.
    """
    config = start.config.training
    _refuse(
        config, BATCHES * 4 * per_device(config) * start.views * start.feed.box_size**2, held_bytes(start)
    )  # images alone
    step = program_of(start, go_on)
    _refuse(config, step.device_bytes, held_bytes(start, step))
    return step


def program_of(start: RunStart, go_on: str | None = None) -> CompiledStep:
    """Compile the step of a run; a signal that asks to stop meanwhile ends the process at once, see `fitting_step`."""
    config, model = start.config.training, start.model
    params = jax.eval_shape(model.init, jax.random.key(config.seed))
    per_epoch = steps_per_epoch(len(start.trained_on), config.batch_size)
    with naming_remedies(config), StopRequest(go_on=go_on or "the same command"):
        return compiled_step(model.loss, params, start.drawn.batch(np.arange(1)), config, per_epoch, data_mesh())


def held_bytes(start: RunStart, step: CompiledStep | None = None) -> int:
    """Return the bytes of the machine's memory that a run holds beside its step: images, and a checkpoint.

    Parameters
    ----------
    step : whose state is copied to be written; None leaves that out.
    """
    feed, config = start.feed, start.config.training
    chunked = start.views == 1 and feed.chunked_order(start.trained_on, config.batch_size, config.seed) is not None
    images = READ_AHEAD * feed.pool.size if chunked else 0.0
    return round(images) + (0 if step is None else step.state_bytes)


def usable_memory(held: int) -> int | None:
    """Return the bytes of one device that a step may use, where the machine holds some besides; None if nobody tells.

    Parameters
    ----------
    held : which take from the devices where these are processors.
    """
    memory = device_memory()
    own = held // jax.local_device_count() if jax.default_backend() == "cpu" else 0
    return None if memory is None else memory - own


def _refuse(config: TrainingConfig, needed: int, held: int) -> None:
    """Refuse what the memory cannot hold: of process 0, which stands for all.

    Parameters
    ----------
    needed : bytes of one device.
    held : bytes of the machine besides.
    """

    def refusal() -> str:
        free = free_memory()
        if free is not None and held > free:
            return (
                f"training holds {byte_size(held)} of images and of a checkpoint in the machine's memory, of which "
                f"{byte_size(free)} are free. Use a machine with more, a smaller --box, or the smaller network of "
                f"--preset small."
            )
        memory = usable_memory(held)
        if memory is None or needed <= memory:
            return ""
        return (
            f"{named(config, 'batch_size')} {config.batch_size}: needs {byte_size(needed)} of memory a device; "
            f"there are {byte_size(memory)}. {remedies(config).capitalize()}."
        )

    told = sharding.said_by_writer(refusal)
    if told:
        raise ConfigurationError(told)


def per_device(config: TrainingConfig) -> int:
    """Return how many particles of a batch one device has."""
    size = sharding.padded_size(config.batch_size, sharding.data_mesh(), config.accumulate)
    return size // jax.device_count()


def encoded_at_once(config: TrainingConfig) -> int:
    """Return how many particles fit this process's devices as they do in training."""
    return per_device(config) // config.accumulate * jax.local_device_count()


def remedies(config: TrainingConfig) -> str:
    """Return the options that need less memory of a device."""
    smaller = max(config.batch_size // 2, 1)
    return (
        f"use --batchsz {smaller} or --batchsz auto, --accum to work through a batch in parts (of tilt series --ntilts "
        "for fewer images), --remat (CryoHype), "
        "a smaller --box, the smaller network of --preset small, or more devices"
    )


@contextlib.contextmanager
def naming_remedies(config: TrainingConfig) -> Iterator[None]:
    """Turn an exhausted device into one line that names the options that help."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise TrainingError(
            f"the memory of {jax.local_devices()[0].device_kind} is exhausted by a batch of {config.batch_size} "
            f"particles, {per_device(config)} a device: {remedies(config)}; --dry_run tells what fits."
        ) from error
