"""The training loop. There is one, and both model families go through it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from libhetero.errors import DataError
from libhetero.records import Batch
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.feed import ordered_indices, step_indices, steps_per_epoch
from libhetero.training.held_out import HeldOut, split
from libhetero.training.interruption import StopRequest
from libhetero.training.log import RunLog
from libhetero.training.meter import Meter
from libhetero.training.optimiser import (
    TrainingConfig,
    TrainingState,
    build_optimiser,
    learning_rate_schedule,
    start_state,
    training_step,
)
from libhetero.training.placing import Feed, placed_batches

LOGGER = logging.getLogger(__name__)
REPORTS_PER_EPOCH = 10
CHECKPOINT_SECONDS = 60


class Trainable(Protocol):
    """What the loop knows of a model."""

    def loss(
        self, params: Any, batch: Batch, key: jax.Array, training: bool = True
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Return the mean over the batch by weight, and metrics (scalars)."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a run ends with.

    Parameters
    ----------
    params : the parameters to use (`TrainingState.best`), NumPy arrays.
    step : steps done.
    finished : False when the run was asked to stop; it can be resumed.
    losses : (steps of this call,) loss of each step.
    """

    params: Any
    step: int
    finished: bool
    losses: np.ndarray


def train(
    model: Trainable,
    params: Any,
    feed: Feed,
    config: TrainingConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[float], None] | None = None,
    observe: Callable[[int, Any], None] | None = None,
) -> TrainingResult:
    """Train a model on a feed of particles over all devices.

    Parameters
    ----------
    model : anything with loss(params, batch, key) -> (scalar, metrics).
    params : initial parameters, pytree of float32, not changed; on resuming, their shapes will do.
    feed : the particles.
    config : how to train.
    folder : run folder, for log.jsonl and checkpoints/; None writes neither.
    resume : continue from the last checkpoint of `folder`; it needs one.
    devices : default all devices of all processes.
    progress : called with the fraction done at every report.
    observe : called at every checkpoint by process 0 with the step and the parameters to use there, on its
        first device; training waits for it, and the arrays are gone after the next step.

    Raises
    ------
    TrainingError : when the loss is no longer finite.
    DataError : when the particles cannot be read or a checkpoint cannot be written or read.
    """
    mesh = sharding.data_mesh(devices)
    training, testing = split(len(feed), config)
    plan = _Plan(config, len(training))
    optimiser = build_optimiser(config, plan.per_epoch)
    with ExitStack() as stack:
        checkpoints = None
        if folder is not None:
            checkpoints = CheckpointFolder(Path(folder) / "checkpoints", config.keep)
            stack.enter_context(checkpoints)
        if resume and checkpoints is not None:
            like = jax.eval_shape(lambda params: start_state(params, optimiser, config), params)
            state = checkpoints.restore(like, mesh)
        elif checkpoints is not None and checkpoints.latest() is not None:
            raise DataError(f"{folder}: already holds a run; resume it or use another folder.")
        else:
            state = sharding.place_replicated(start_state(params, optimiser, config), mesh)
        path = Path(folder) / "log.jsonl" if folder is not None and sharding.is_writer() else None
        log = stack.enter_context(RunLog(path, plan.total, int(state.step)))
        stop = stack.enter_context(StopRequest())
        step = sharding.compile_step(training_step(model.loss, optimiser, config), mesh)
        held_out = None
        if len(testing):
            LOGGER.info("%d of %d particles are held out of training", len(testing), len(feed))
            parts = [testing[index] for index in ordered_indices(len(testing), config.batch_size)]
            held_out = HeldOut(
                model.loss, lambda: placed_batches(feed, parts, config, mesh), config, mesh
            )
        order = step_indices(
            len(training), config.batch_size, config.seed, int(state.step), plan.total
        )
        batches = placed_batches(feed, (training[index] for index in order), config, mesh)
        stack.callback(batches.close)
        watch = _Watch(log, checkpoints, stop, progress, observe, held_out)
        return _run(step, state, batches, plan, watch)


class _Plan:
    """When things are due; `step` counts the steps done.

    Processes have clocks of their own, so several of them go by epochs alone.
    """

    def __init__(self, config: TrainingConfig, count: int) -> None:
        self.config, self.count = config, count
        self.per_epoch = steps_per_epoch(count, config.batch_size)
        self.total = config.epochs * self.per_epoch
        self.schedule = learning_rate_schedule(config, self.per_epoch)
        self.every = config.report_every or max(self.per_epoch // REPORTS_PER_EPOCH, 1)
        self.last_checkpoint = time.monotonic()

    def particles(self, step: int) -> int:
        """Return how many particles the last of `step` steps met."""
        if step % self.per_epoch:
            return self.config.batch_size
        return self.count - (self.per_epoch - 1) * self.config.batch_size

    def report_due(self, step: int) -> bool:
        """Return whether a line of the log is due after `step` steps."""
        return step % self.every == 0 or step % self.per_epoch == 0

    def checkpoint_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after `step` steps."""
        if step == self.total:
            return True
        if self.config.checkpoint_every or jax.process_count() > 1:
            return step % (self.per_epoch * max(self.config.checkpoint_every, 1)) == 0
        if step % self.per_epoch or time.monotonic() - self.last_checkpoint < CHECKPOINT_SECONDS:
            return False
        self.last_checkpoint = time.monotonic()
        return True


@dataclass(frozen=True, eq=False)
class _Watch:
    """What the loop tells, and what can stop it."""

    log: RunLog
    checkpoints: CheckpointFolder | None
    stop: StopRequest
    progress: Callable[[float], None] | None
    observe: Callable[[int, Any], None] | None
    held_out: HeldOut | None

    def exhausted(self, state: TrainingState, plan: _Plan) -> bool:
        """Return whether the held-out particles say that training has done all it can."""
        epoch, rest = divmod(int(state.step), plan.per_epoch)
        return self.held_out is not None and rest == 0 and self.held_out.exhausted(state, epoch)

    def look(self, state: TrainingState) -> None:
        """Show the parameters to use now to whoever observes the run; what it takes is no training."""
        if self.observe is None or not sharding.is_writer():
            return
        with self.log.paused():
            self.observe(int(state.step), sharding.on_first_device(state.best()))


def _run(
    step: Callable, state: TrainingState, batches: Iterator[Batch], plan: _Plan, watch: _Watch
) -> TrainingResult:
    """Go through the batches that are left."""
    meter = Meter(
        f"Try a lower learning rate than {plan.config.learning_rate:g} or a smaller gradient_clip; "
        "at the first step, check the starting model. Earlier checkpoints are kept."
    )
    done, stopped = int(state.step), False
    first = done + 1
    enough = watch.exhausted(state, plan)
    for batch in () if enough else batches:
        state, metrics = step(state, batch)
        done += 1
        meter.add(done, plan.particles(done), metrics)
        if done == first:
            meter.flush()
            watch.log.start_clock()
        else:
            watch.log.count(plan.particles(done))
        tested = {}
        if watch.held_out is not None and done % plan.per_epoch == 0:
            meter.flush()
            with watch.log.paused():
                state, tested["test_loss"] = watch.held_out.judge(state, done // plan.per_epoch)
            enough = watch.exhausted(state, plan) and done < plan.total
        if plan.report_due(done):
            _report(done, meter, plan, watch, tested)
        stopped = watch.stop.after(done) and done < plan.total and not enough
        if watch.checkpoints is not None and (stopped or enough or plan.checkpoint_due(done)):
            meter.flush()
            watch.checkpoints.save(state)
            watch.look(state)
        if stopped or enough:
            break
    if enough and watch.progress is not None:
        watch.progress(1.0)
    meter.flush()
    if watch.checkpoints is not None:
        watch.checkpoints.wait()
    if watch.held_out is not None and not stopped:
        LOGGER.info(
            "the held-out particles fit best after epoch %d of %d (loss %.5g); these parameters are kept",
            int(state.kept.epoch), done // plan.per_epoch, float(state.kept.loss),
        )  # fmt: skip
    return TrainingResult(
        jax.device_get(state.best()), done, not stopped, np.asarray(meter.losses, np.float32)
    )


def _report(
    step: int, meter: Meter, plan: _Plan, watch: _Watch, tested: dict[str, float]
) -> None:
    values = {"epoch": round(step / plan.per_epoch, 4), **meter.means(), **tested}
    values["learning_rate"] = float(plan.schedule(step - 1))
    watch.log.report(step, values)
    if watch.progress is not None:
        watch.progress(step / plan.total)
