"""What a training run would cost, before it is started; and the batch that fits the memory."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from libhetero.errors import TrainingError
from libhetero.pipelines.run.configuration import RefineConfig
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.start import RunStart, prepare, reopen, settled
from libhetero.telling import byte_size, duration
from libhetero.training import sharding
from libhetero.training.budget import StepCost, device_memory, largest_share, rounded_share, step_cost
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import steps_per_epoch
from libhetero.training.held_out import split
from libhetero.training.optimiser import build_optimiser, start_state, training_step
from libhetero.training.placing import training_batches
from libhetero.training.processes import joined, processes_asked

LOGGER = logging.getLogger(__name__)
FEWEST_STEPS = 32  # an epoch, that a chosen batch leaves
TIMED_STEPS = 20  # at most, after the first
TIMED_SECONDS = 10.0  # at most, after at least three steps; of one process


@dataclass(frozen=True)
class Budget:
    """What a run would cost.

    Parameters
    ----------
    start : the run.
    cost : of a step.
    memory : of one device, bytes.
    seconds : to the end of the first step, and of a step after it, feeding included (the median); None
        where the batch does not fit and no step was taken.
    """

    start: RunStart
    cost: StepCost
    memory: int
    seconds: tuple[float, float] | None

    def lines(self) -> Iterator[str]:
        """Yield what a user reads."""
        config, cost = self.start.config.training, self.cost
        count = len(split(len(self.start.feed), config)[0])
        steps = steps_per_epoch(count, config.batch_size)
        share = per_device(config)
        yield (
            f"model    {self.start.config.family}, {cost.parameters:,} parameters; {byte_size(cost.state_bytes)} with "
            "optimiser and average"
        )
        yield f"work     {1e-9 * cost.flops_per_particle:.3g} GFLOP a particle, in the products of forward and backward"
        yield (
            f"memory   {byte_size(cost.device_bytes)} a device for {share} of the {config.batch_size} particles of a "
            f"batch ({byte_size(cost.temporary_bytes)} temporary); there are {byte_size(self.memory)}"
        )
        if self.seconds is None:
            yield f"This batch does not fit: {remedies(config)}."
            return
        first, step = self.seconds
        epoch, rate = steps * step, config.batch_size / step
        yield (
            f"step     {1e3 * step:.4g} ms on {jax.device_count()} device(s), {rate:.4g} particles/s, "
            f"{1e-9 * rate * cost.flops_per_particle:.3g} GFLOP/s; the first step after {duration(first)}"
        )
        yield f"epoch    {steps} steps, {duration(epoch)}; {config.epochs} epochs {duration(config.epochs * epoch)}"


def dry_run(config: RefineConfig, told: Callable[[int, int], None] | None = None) -> Budget:
    """Do all that a run does before its first step, take some steps, and tell what the rest would cost.

    Nothing is written into a run folder. What `prepare` raises is raised here too.

    Parameters
    ----------
    told : called with the index of this process and how many there are.
    """
    with joined(processes_asked(*config.processes, os.environ), told):
        config = settled(config)
        return _budget(reopen(config) if config.resume is not None else prepared(config))


def _budget(start: RunStart) -> Budget:
    params = _shapes(start)
    particle = start.feed.batch(np.arange(1))
    training = start.config.training
    cost = step_cost(start.model.loss, params, particle, training, per_device(training))
    memory = device_memory()
    # process 0's memory stands for that of all, which must take the same way
    fits = sharding.said_by_writer(lambda: str(cost.device_bytes <= memory)) == "True"
    with naming_remedies(training):
        return Budget(start, cost, memory, _time_steps(start) if fits else None)


def prepared(config: RefineConfig) -> RunStart:
    """Return the start of a new run, with the batch that fits where that was asked for."""
    start = prepare(config)
    return with_largest_batch(start) if config.automatic_batch else start


def with_largest_batch(start: RunStart) -> RunStart:
    """Return the start with the largest batch that fits the devices and leaves an epoch enough steps."""
    training, devices = start.config.training, jax.device_count()
    count = len(split(len(start.feed), training)[0])
    parts = training.accumulate
    most = rounded_share(count // FEWEST_STEPS // (devices * parts))
    params, particle = _shapes(start), start.feed.batch(np.arange(1))

    def choose() -> str:
        """Return a device's share of one part of a batch as process 0 finds it, whose memory stands for all."""

        def needed(share: int) -> int:
            return step_cost(start.model.loss, params, particle, training, share * parts).device_bytes

        return str(largest_share(needed, device_memory(), most))

    share = int(sharding.said_by_writer(choose))
    bound = f"more would leave an epoch fewer than {FEWEST_STEPS} steps" if share == most else "the largest that fits"
    share *= parts
    if share * devices * FEWEST_STEPS > count:
        steps = steps_per_epoch(count, share * devices)
        bound = f"the smallest there is, of {count} particles to train on; an epoch has {steps} steps"
    LOGGER.info("batch of %d particles, %d a device: %s", share * devices, share, bound)
    training = dataclasses.replace(training, batch_size=share * devices)
    return dataclasses.replace(start, config=dataclasses.replace(start.config, training=training))


def per_device(config: TrainingConfig) -> int:
    """Return how many particles of a batch one device has."""
    size = sharding.padded_size(config.batch_size, sharding.data_mesh(), config.accumulate)
    return size // jax.device_count()


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


def _shapes(start: RunStart) -> Any:
    return jax.eval_shape(start.model.init, jax.random.key(start.config.training.seed))


def _time_steps(start: RunStart) -> tuple[float, float]:
    """Return the seconds to the end of the first step, and those of a later one."""
    config, mesh = start.config.training, sharding.data_mesh()
    feed = if_cached(start.feed, start.config.data.cache)
    began = time.perf_counter()
    training, _ = split(len(feed), config)
    optimiser = build_optimiser(config, steps_per_epoch(len(training), config.batch_size))
    params = jax.jit(start.model.init)(jax.random.key(config.seed))
    state = sharding.place_replicated(start_state(params, optimiser, config), mesh)
    step = sharding.compile_step(training_step(start.model.loss, optimiser, config), mesh)
    times = [began]
    with contextlib.closing(training_batches(feed, training, config, mesh, 0, TIMED_STEPS + 1)) as batches:
        for batch in batches:
            state, metrics = step(state, batch)
            jax.block_until_ready(metrics)
            times.append(time.perf_counter())
            # each of several processes has a clock of its own, and all must take the same steps
            if jax.process_count() == 1 and len(times) > 4 and times[-1] - times[1] > TIMED_SECONDS:
                break
    seconds = np.diff(times)
    return float(seconds[0]), float(np.median(seconds[1:]))
