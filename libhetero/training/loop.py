"""The training loop. There is one, and both model families go through it.

The batches of a step are a function of (seed, step), so that the loop may go back to an earlier state (`guard`)
and on from there, as it does after an interruption.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.records import Batch
from libhetero.training import sharding
from libhetero.training.budget import CompiledStep
from libhetero.training.checkpoint import CheckpointFolder, EpochFolder
from libhetero.training.clock import CheckpointClock
from libhetero.training.configuration import TrainingConfig
from libhetero.training.course import Verdict
from libhetero.training.feed import Feed, ParticleFeed, ordered_indices, steps_per_epoch
from libhetero.training.guard import Guard, HostCopy, StateStore
from libhetero.training.held_out import PATIENCE as EPOCHS_WITHOUT_GAIN
from libhetero.training.held_out import HeldOut, split
from libhetero.training.interruption import StopRequest
from libhetero.training.log import RunLog
from libhetero.training.meter import Meter
from libhetero.training.optimiser import (
    TrainingState,
    build_optimiser,
    learning_rate_schedule,
    start_state,
    training_step,
)
from libhetero.training.placing import placed_batches, training_batches
from libhetero.training.series import drawn_from

LOGGER = logging.getLogger(__name__)
REPORTS_PER_EPOCH = 10


@runtime_checkable
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
    finished : False when the run was asked to stop, also after its last step; it can be resumed.
    losses : of each step of this call; not finite where it was skipped.
    interrupted : whether it was Ctrl-C that asked.
    verdict : whether it still improves; None where no log is written (no folder, or not process 0).
    """

    params: Any
    step: int
    finished: bool
    losses: Float[np.ndarray, "steps"]
    interrupted: bool = False
    verdict: Verdict | None = None


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
    listener: Callable[[dict[str, Any]], None] | None = None,
    program: CompiledStep | None = None,
    go_on: str | None = None,
) -> TrainingResult:
    """Train a model on a feed of particles over all devices.

    Parameters
    ----------
    model : anything with loss(params, batch, key) -> (scalar, metrics).
    params : initial parameters, pytree of float32, not changed; on resuming, their shapes will do.
    feed : the particles.
    config : how to train.
    folder : run folder, for log.jsonl and checkpoints/; None writes neither.
    resume : continue from the last checkpoint of `folder`; it needs one. A new run writes one at step 0.
    devices : default all devices of all processes.
    progress : called with the fraction done at every report.
    observe : called at every checkpoint by process 0 with the step and the parameters to use there, on its
        first device; training waits for it, and the arrays are gone after the next step.
    listener : called by process 0 with every line of log.jsonl.
    program : the step as it was compiled for all this; None to compile it at the first step.
    go_on : how to go on, as the line names it that tells of an end at once; None for --resume with the folder.

    Raises
    ------
    TrainingError : when the loss stays not finite (`guard`).
    DataError : when the particles cannot be read or a checkpoint cannot be written or read.
    """
    began = time.monotonic() - (0.0 if program is None else program.seconds)
    mesh = sharding.data_mesh(devices)
    feed = drawn_from(feed) if isinstance(feed, ParticleFeed) else feed
    training, testing = split(len(feed), config)
    plan = _Plan(config, len(training))
    optimiser = build_optimiser(config, plan.per_epoch)
    with ExitStack() as stack:
        checkpoints = epochs = None
        if folder is not None:
            checkpoints = stack.enter_context(CheckpointFolder(Path(folder) / "checkpoints", config.keep))
            epochs = stack.enter_context(EpochFolder(Path(folder) / "epochs"))
        store: StateStore = HostCopy() if checkpoints is None else checkpoints
        if resume and checkpoints is not None:
            like = jax.eval_shape(lambda params: start_state(params, optimiser, config), params)
            state = checkpoints.restore(like, mesh)
        else:
            if checkpoints is not None and checkpoints.latest() is not None:
                raise DataError(f"{folder}: already holds a run; resume it or use another folder.")
            state = sharding.place_replicated(start_state(params, optimiser, config), mesh)
        if checkpoints is not None and epochs is not None:
            checkpoints.remove_unfinished()
            epochs.remove_unfinished()
        if not resume or checkpoints is None:
            store.save(state)
        path = Path(folder) / "log.jsonl" if folder is not None and sharding.is_writer() else None
        log = stack.enter_context(RunLog(path, plan.total, int(state.step), began, listener))
        stop = stack.enter_context(StopRequest(folder, go_on or f"--resume {folder}"))
        step: Callable = sharding.compile_step(training_step(model.loss, optimiser, config), mesh)
        step = step if program is None else program.run
        held_out = None
        if len(testing):
            LOGGER.info("%d of %d particles are held out of training", len(testing), len(feed))
            parts = [testing[index] for index in ordered_indices(len(testing), config.batch_size)]
            held_out = HeldOut(model.loss, lambda: placed_batches(feed, parts, config, mesh), config, mesh)
        batches = stack.enter_context(_Batches(feed, training, plan, mesh))
        watch = _Watch(log, store, epochs, stop, progress, observe, held_out)
        return _Run(step, batches, plan, watch, mesh, state).go()


class _Batches:
    """The batches of a run, from any step on."""

    def __init__(self, feed: Feed, training: np.ndarray, plan: _Plan, mesh: Mesh) -> None:
        self._feed, self._training, self._plan, self._mesh = feed, training, plan, mesh
        self._open: Generator[Batch, None, None] | None = None

    def __enter__(self) -> _Batches:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """End the reading ahead."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def after(self, done: int) -> Batch:
        """Return the batch of the step after `done` steps; without `close`, the one after the last."""
        if self._open is None:
            plan = self._plan
            self._open = training_batches(self._feed, self._training, plan.config, self._mesh, done, plan.total)
        return next(self._open)


class _Plan:
    """When things are due; `step` counts the steps done."""

    def __init__(self, config: TrainingConfig, count: int) -> None:
        self.config, self.count = config, count
        self.per_epoch = steps_per_epoch(count, config.batch_size)
        self.total = config.epochs * self.per_epoch
        self.schedule = learning_rate_schedule(config, self.per_epoch)
        self.every = config.report_every or max(self.per_epoch // REPORTS_PER_EPOCH, 1)

    def particles(self, step: int) -> int:
        """Return how many particles the last of `step` steps met."""
        if step % self.per_epoch:
            return self.config.batch_size
        return self.count - (self.per_epoch - 1) * self.config.batch_size

    def report_due(self, step: int) -> bool:
        """Return whether a line of the log is due after `step` steps."""
        return step % self.every == 0 or step % self.per_epoch == 0

    def checkpoint_due(self, step: int, clock: CheckpointClock) -> bool:
        """Return whether a checkpoint is due after `step` steps: at the end, after so many epochs or by the clock."""
        if step == self.total:
            return True
        if self.config.checkpoint_every:
            return step % (self.per_epoch * self.config.checkpoint_every) == 0
        return clock.due(step)

    def kept_epoch(self, step: int) -> int:
        """Return the epoch that ends after `step` steps if its parameters are to be kept, else 0."""
        epoch, rest = divmod(step, self.per_epoch)
        return 0 if rest or epoch % self.config.epochs_between_kept else epoch


@dataclass(frozen=True, eq=False)
class _Watch:
    """What the loop tells, and what can stop it."""

    log: RunLog
    store: StateStore
    epochs: EpochFolder | None
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


class _Run:
    """The state of a run while it goes through its batches."""

    def __init__(
        self, step: Callable, batches: _Batches, plan: _Plan, watch: _Watch, mesh: Mesh, state: TrainingState
    ) -> None:
        self.step, self.batches, self.plan, self.watch, self.mesh = step, batches, plan, watch, mesh
        self.state, self.done = state, int(state.step)
        self.guard = Guard(plan.config, state)
        self.clock = CheckpointClock(self.done)
        self.meter = Meter(self.guard.note, self.done)
        self.enough = watch.exhausted(state, plan)
        self.stopped = False

    def go(self) -> TrainingResult:
        """Go through the batches that are left."""
        plan, watch, first = self.plan, self.watch, True
        while self.done < plan.total and not (self.stopped or self.enough):
            self.state, metrics = self.step(self.state, self.batches.after(self.done))
            self.done += 1
            particles = plan.particles(self.done)
            self.meter.add(self.done, particles, metrics)
            if first:
                self.meter.flush()
                watch.log.start_clock()
            else:
                watch.log.count(particles)
            first = False
            tested = self._judge() if self.done % plan.per_epoch == 0 else {}
            if plan.report_due(self.done):
                self._report(tested)
            self.stopped = watch.stop.after(self.done)
            due = self.stopped or self.enough or plan.checkpoint_due(self.done, self.clock)
            kept = plan.kept_epoch(self.done) if watch.epochs is not None else 0
            if due or kept:
                self.meter.flush()
            if self.guard.exhausted():
                self._go_back()
                due, kept = self.stopped, 0
            if due or kept:
                self._checkpoint(due, kept)
        return self._end()

    def _judge(self) -> dict[str, float]:
        """Ask the held-out particles, at the end of an epoch."""
        if self.watch.held_out is None:
            return {}
        self.meter.flush()
        with self.watch.log.paused():
            self.state, found = self.watch.held_out.judge(self.state, self.done // self.plan.per_epoch)
        self.enough = self.watch.exhausted(self.state, self.plan) and self.done < self.plan.total
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def _report(self, tested: dict[str, float]) -> None:
        means = self.meter.means()
        if means:  # else every step since the last line was skipped
            values = {"epoch": round(self.done / self.plan.per_epoch, 4), **means, **tested, **self.guard.values()}
            values["learning_rate"] = float(self.plan.schedule(self.done - 1)) * self.guard.rate_scale
            self.watch.log.report(self.done, values)
        if self.watch.progress is not None:
            self.watch.progress(self.done / self.plan.total)

    def _checkpoint(self, due: bool, kept: int) -> None:
        """Keep the state, and the parameters of an epoch, except between skipped steps of a run that goes on.

        Parameters
        ----------
        due : whether a checkpoint is.
        kept : the epoch whose parameters are to be kept; 0 for none.
        """
        ends = self.stopped or self.enough or self.done == self.plan.total
        if self.guard.in_a_row and not ends:
            return
        if kept and self.watch.epochs is not None and not self.guard.in_a_row:
            self.watch.epochs.save_epoch(self.state, kept)
        if not due:
            return
        with self.clock.paid(self.done):
            self.watch.store.save(self.state, self.enough)
            if not self.stopped:  # the system gives little time
                self.watch.look(self.state)

    def _go_back(self) -> None:
        self.state = self.guard.go_back(self.state, self.watch.store, self.mesh)
        self.done = int(self.state.step)
        self.enough = False
        self.batches.close()
        self.meter.go_back(self.done)
        self.watch.log.go_back(self.done)
        self.clock.restart(self.done)

    def _end(self) -> TrainingResult:
        if self.enough and self.watch.progress is not None:
            self.watch.progress(1.0)
        self.watch.store.wait()
        if self.watch.epochs is not None:
            self.watch.epochs.wait()
        self.stopped = self.stopped or self.watch.stop.after(self.done + 1)  # asked while the last were written
        if self.watch.held_out is not None and not self.stopped:
            LOGGER.info(
                "the held-out particles fit best after epoch %d of %d (loss %.5g); these parameters are kept",
                int(self.state.held().epoch),
                self.done // self.plan.per_epoch,
                float(self.state.held().loss),
            )
        if self.guard.skipped:
            LOGGER.warning("%d steps of the run were not finite and were skipped", self.guard.skipped)
        return TrainingResult(
            params=jax.device_get(self.state.best()),
            step=self.done,
            finished=not self.stopped,
            losses=np.asarray(self.meter.losses, np.float32),
            interrupted=self.watch.stop.interrupted,
            verdict=self._verdict(),
        )

    def _verdict(self) -> Verdict | None:
        """Return whether the run still improves."""
        if self.enough:
            return Verdict(False, f"the held-out particles have gained nothing for {EPOCHS_WITHOUT_GAIN} epochs")
        return self.watch.log.verdict()
