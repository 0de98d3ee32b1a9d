"""The batch of a run: the largest that fits, a device's share of it, and what helps where it does not fit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

import jax
import numpy as np

from libhetero.errors import ConfigurationError, TrainingError
from libhetero.files import free_memory
from libhetero.models.family import ModelFamily
from libhetero.telling import byte_size
from libhetero.training import sharding
from libhetero.training.budget import BATCHES, device_memory, largest_share, rounded_share, step_cost
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import ParticleFeed, steps_per_epoch

LOGGER = logging.getLogger(__name__)
FEWEST_STEPS = 32  # an epoch, that a chosen batch leaves
NOTABLE = 64  # times the images of a batch in the free memory, below which a step is compiled to know what it needs


def with_largest_batch(config: TrainingConfig, model: ModelFamily, feed: ParticleFeed, count: int) -> TrainingConfig:
    """Return the training with the largest batch that fits the devices and leaves an epoch enough steps.

    Parameters
    ----------
    config : how to train; its own batch is not looked at.
    model, feed : what is trained, and on what.
    count : particles trained on.
    """
    devices, parts = jax.device_count(), config.accumulate
    most = rounded_share(count // FEWEST_STEPS // (devices * parts))
    params = jax.eval_shape(model.init, jax.random.key(config.seed))
    particle = feed.batch(np.arange(1))

    def choose() -> str:
        """Return a device's share of one part of a batch as process 0 finds it, whose memory stands for all."""

        def needed(share: int) -> int:
            return step_cost(model.loss, params, particle, config, share * parts).device_bytes

        return str(largest_share(needed, device_memory(), most))

    share = int(sharding.said_by_writer(choose))
    bound = f"more would leave an epoch fewer than {FEWEST_STEPS} steps" if share == most else "the largest that fits"
    share *= parts
    if share * devices * FEWEST_STEPS > count:
        steps = steps_per_epoch(count, share * devices)
        bound = f"the smallest there is, of {count} particles to train on; an epoch has {steps} steps"
    LOGGER.info("batch of %d particles, %d a device: %s", share * devices, share, bound)
    return dataclasses.replace(config, batch_size=share * devices)


def require_fitting_batch(config: TrainingConfig, model: ModelFamily, feed: ParticleFeed) -> None:
    """Refuse a batch that the machine's memory cannot hold, where the devices are processors and would abort.

    A step is compiled to know what it needs only where the images alone are a notable part of what is free.

    Raises
    ------
    ConfigurationError : naming what needs less.
    """
    if jax.default_backend() != "cpu":
        return
    share = per_device(config)
    limit = device_memory() if free_memory() is not None else None
    if limit is None or NOTABLE * 4 * share * feed.box_size**2 < limit:
        return
    images = BATCHES * 4 * share * feed.box_size**2
    needed = images if images > limit else _step_bytes(config, model, feed, share)
    if needed > limit:
        raise ConfigurationError(
            f"--batchsz {config.batch_size}: needs {byte_size(needed)} of memory; there are {byte_size(limit)}. "
            f"{remedies(config).capitalize()}."
        )


def _step_bytes(config: TrainingConfig, model: ModelFamily, feed: ParticleFeed, share: int) -> int:
    params = jax.eval_shape(model.init, jax.random.key(config.seed))
    return step_cost(model.loss, params, feed.batch(np.arange(1)), config, share).device_bytes


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
        f"use --batchsz {smaller} or --batchsz auto, --accum to work through a batch in parts, --remat (CryoHype), "
        "a smaller --box, --preset small or more devices"
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
            f"particles, {per_device(config)} a device: {remedies(config)}; --dry-run tells what fits."
        ) from error
