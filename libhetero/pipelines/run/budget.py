"""What a training run would cost, before it is started."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np

from libhetero.pipelines.run.batch import naming_remedies, per_device, remedies
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.start import RunStart
from libhetero.telling import byte_size, duration
from libhetero.training import sharding
from libhetero.training.budget import StepCost, device_memory, step_cost
from libhetero.training.feed import steps_per_epoch
from libhetero.training.optimiser import build_optimiser, start_state, training_step
from libhetero.training.placing import training_batches

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
        steps = steps_per_epoch(len(self.start.trained_on), config.batch_size)
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


def budget_of(start: RunStart) -> Budget:
    """Take some steps of a run, where its batch fits, and tell what the rest would cost; nothing is written."""
    training = start.config.training
    params = jax.eval_shape(start.model.init, jax.random.key(training.seed))
    particle = start.feed.batch(np.arange(1))
    cost = step_cost(start.model.loss, params, particle, training, per_device(training))
    memory = device_memory()
    # process 0's memory stands for that of all, which must take the same way
    fits = sharding.said_by_writer(lambda: str(cost.device_bytes <= memory)) == "True"
    with naming_remedies(training):
        return Budget(start, cost, memory, _time_steps(start) if fits else None)


def _time_steps(start: RunStart) -> tuple[float, float]:
    """Return the seconds to the end of the first step, and those of a later one."""
    config, mesh = start.config.training, sharding.data_mesh()
    feed = if_cached(start.feed, start.config.data.cache)
    began = time.perf_counter()
    training = start.trained_on
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
