"""What a training run would cost, before it is started."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np

from libhetero.pipelines.run.batch import held_bytes, naming_remedies, per_device, program_of, remedies, usable_memory
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.pipelines.run.start import RunStart
from libhetero.telling import byte_size, duration
from libhetero.training import sharding
from libhetero.training.budget import CompiledStep, cost_of
from libhetero.training.feed import steps_per_epoch
from libhetero.training.optimiser import build_optimiser, start_state
from libhetero.training.placing import training_batches
from libhetero.training.series import drawn_from

TIMED_STEPS = 20  # at most, after the first
TIMED_SECONDS = 10.0  # at most, after at least three steps; of one process


@dataclass(frozen=True, eq=False)
class Budget:
    """What a run would cost.

    Parameters
    ----------
    start : the run.
    step : its step, compiled.
    memory : that a step may use of one device, bytes; None where nobody tells.
    """

    start: RunStart
    step: CompiledStep
    memory: int | None

    def lines(self) -> Iterator[str]:
        """Yield what a user reads: all that is known without running anything first, then the time of some steps.

        No step is taken where the batch does not fit.
        """
        start, config = self.start, self.start.config.training
        share = per_device(config)
        params = jax.eval_shape(start.model.init, jax.random.key(config.seed))
        cost = cost_of(self.step, start.model.loss, params, start.drawn.batch(np.arange(1)), share)
        yield (
            f"model    {start.config.family}, {cost.parameters:,} parameters; {byte_size(cost.state_bytes)} with "
            "optimiser and average"
        )
        yield f"work     {1e-9 * cost.flops_per_particle:.3g} GFLOP a particle, in the products of forward and backward"
        there = (
            "the system does not tell how much there is"
            if self.memory is None
            else f"there are {byte_size(self.memory)}"
        )
        yield (
            f"memory   {byte_size(cost.device_bytes)} a device for {share} of the {config.batch_size} particles of a "
            f"batch ({byte_size(cost.temporary_bytes)} temporary); {there}"
        )
        # process 0's memory stands for that of all, which must take the same way
        if sharding.said_by_writer(lambda: str(self.memory is None or cost.device_bytes <= self.memory)) != "True":
            yield f"This batch does not fit: {remedies(config)}."
            return
        with naming_remedies(config):
            step = _time_steps(start, self.step)
        steps = steps_per_epoch(len(start.trained_on), config.batch_size)
        epoch, rate = steps * step, config.batch_size / step
        yield (
            f"step     {1e3 * step:.4g} ms on {jax.device_count()} device(s), {rate:.4g} particles/s, "
            f"{1e-9 * rate * cost.flops_per_particle:.3g} GFLOP/s; compiled in {duration(self.step.seconds)}"
        )
        yield f"epoch    {steps} steps, {duration(epoch)}; {config.epochs} epochs {duration(config.epochs * epoch)}"


def budget_of(start: RunStart) -> Budget:
    """Compile the step of a run; no step is taken, and nothing is written."""
    step = program_of(start)
    return Budget(start, step, usable_memory(held_bytes(start, step)))


def _time_steps(start: RunStart, program: CompiledStep) -> float:
    """Return the seconds of a step, feeding included: the median of some, after the first."""
    config, mesh = start.config.training, sharding.data_mesh()
    feed = drawn_from(if_cached(start.feed, start.config.data.cache))
    optimiser = build_optimiser(config, steps_per_epoch(len(start.trained_on), config.batch_size))
    params = jax.jit(start.model.init)(jax.random.key(config.seed))
    state = sharding.place_replicated(start_state(params, optimiser, config), mesh)
    times = [time.perf_counter()]
    with contextlib.closing(training_batches(feed, start.trained_on, config, mesh, 0, TIMED_STEPS + 1)) as batches:
        for batch in batches:
            state, metrics = program.run(state, batch)
            jax.block_until_ready(metrics)
            times.append(time.perf_counter())
            # each of several processes has a clock of its own, and all must take the same steps
            if jax.process_count() == 1 and len(times) > 4 and times[-1] - times[1] > TIMED_SECONDS:
                break
    return float(np.median(np.diff(times)[1:]))
