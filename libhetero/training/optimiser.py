"""The optimiser: Adam or Muon with warm-up, cosine decay, clipping, and a running average of the weights.

The learning rate rises linearly from a tenth of its value (an epoch at rate 0 would be lost) and
then follows half a cosine down to 1 % of it. A run that is given more epochs goes over, within the time of a warm-up,
from the rate it had to that of a run of so many epochs from the start, which is higher: at 1 % of the rate, where half
a cosine ends, nothing more would be learnt. The running average

    a ← d a + (1 - d) p,   d = min(ema_decay, (1 + s) / (10 + s)),   s the step,

starts as the parameters themselves and its memory grows with the run, so that a short run is not
held back by its first steps.

A step whose loss or gradient is not finite changes nothing but the counts of steps and of steps skipped,
so that the order of the particles goes on; `guard` says what follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from libhetero.physics.arrays import AnyArray
from libhetero.physics.pytrees import register_record
from libhetero.records import Batch
from libhetero.training.accumulation import mean_over_parts
from libhetero.training.configuration import TrainingConfig
from libhetero.training.muon import muon

WARMUP_START = 0.1
COSINE_END = 0.01

Loss = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]  # (params, batch, key, training=True)


@register_record
@dataclass(frozen=True)
class Kept:
    """The best parameters so far by the loss of the held-out particles.

    Parameters
    ----------
    loss : () float32.
    epoch : () int32, the epoch it was reached in; 0 for none yet.
    params : the model's parameters.
    """

    loss: Float[AnyArray, ""]
    epoch: Int[AnyArray, ""]
    params: Any


@register_record
@dataclass(frozen=True)
class TrainingState:
    """Everything that a step changes.

    Parameters
    ----------
    step : () int32, steps done.
    params : the model's parameters.
    optimiser : moments and counts.
    average : running average of `params`; None when it is off.
    rate_scale : () float32, factor of every update, below 1 after a divergence (`guard`).
    skipped : () int32, steps of the run that were not finite and changed nothing.
    kept : the best so far; None where no particles are held out.
    """

    step: Int[AnyArray, ""]
    params: Any
    optimiser: Any
    average: Any
    rate_scale: Float[AnyArray, ""]
    skipped: Int[AnyArray, ""]
    kept: Kept | None = None

    def current(self) -> Any:
        """Return the parameters as they are now: their running average where there is one."""
        return self.params if self.average is None else self.average

    def held(self) -> Kept:
        """Return the best so far of a run that holds particles out."""
        if self.kept is None:
            raise AssertionError("no particles are held out, so nothing is kept")
        return self.kept

    def best(self) -> Any:
        """Return the parameters to use: those kept, else the current ones."""
        if self.kept is not None and int(self.kept.epoch):
            return self.kept.params
        return self.current()


def learning_rate_schedule(config: TrainingConfig, per_epoch: int) -> optax.Schedule:
    """Return the learning rate as a function of the step."""
    lengths = [epochs for epochs, _ in config.extended] + [config.epochs]
    schedule = _schedule_of(config, lengths[0], per_epoch)
    for (_, step), epochs in zip(config.extended, lengths[1:], strict=True):
        rise = max(round(config.warmup_epochs * per_epoch), 1)
        schedule = _passing_over(schedule, _schedule_of(config, epochs, per_epoch), step, rise)
    return schedule


def _schedule_of(config: TrainingConfig, epochs: int, per_epoch: int) -> optax.Schedule:
    """Return the schedule of a run of so many epochs."""
    total = epochs * per_epoch
    warmup = min(round(config.warmup_epochs * per_epoch), total // 2)
    start, peak = WARMUP_START * config.learning_rate, config.learning_rate
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(start, peak, warmup, total, COSINE_END * peak)
    return optax.warmup_constant_schedule(start if warmup else peak, peak, warmup)


def _passing_over(before: optax.Schedule, after: optax.Schedule, step: int, rise: int) -> optax.Schedule:
    """Return the schedule that follows one until a step, and another one `rise` steps later."""

    def schedule(count: Any) -> Any:
        share = jnp.clip((count - step) / rise, 0, 1)
        passing = (1 - share) * before(step) + share * after(count)
        return jnp.where(count < step, before(count), passing)

    return schedule


def build_optimiser(config: TrainingConfig, per_epoch: int) -> optax.GradientTransformation:
    """Return clipping followed by Adam or Muon on the schedule of `config`."""
    schedule = learning_rate_schedule(config, per_epoch)
    clip = [optax.clip_by_global_norm(config.gradient_clip)] if config.gradient_clip else []
    if config.optimiser == "muon":
        return optax.chain(*clip, muon(schedule))
    return optax.chain(*clip, optax.adam(schedule))


def start_state(params: Any, optimiser: optax.GradientTransformation, config: TrainingConfig) -> TrainingState:
    """Return the state before the first step; the arrays of `params` are copied."""

    @jax.jit  # one program, not one for each array
    def start(params: Any) -> TrainingState:
        params = _copied(params)
        average = _copied(params) if config.ema_decay else None
        kept = None
        if config.test_fraction:
            kept = Kept(jnp.full((), jnp.inf, jnp.float32), jnp.zeros((), jnp.int32), _copied(params))
        none, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.float32)
        return TrainingState(none, params, optimiser.init(params), average, one, none, kept)

    return start(params)


def _copied(params: Any) -> Any:
    """Return arrays with buffers of their own: the step gives up what it is given."""
    return jax.tree.map(jnp.copy, params)


def training_step(
    loss: Loss, optimiser: optax.GradientTransformation, config: TrainingConfig
) -> Callable[[TrainingState, Batch], tuple[TrainingState, dict[str, jax.Array]]]:
    """Return the pure function of one step: loss, gradient, update, running average.

    The random key of step s is fold_in(key(seed), s), so a resumed run draws the same numbers. Metrics have
    `skipped`, 1 where loss or gradient was not finite and the step changed nothing, else 0.
    """
    with_gradient = jax.value_and_grad(loss, has_aux=True)

    def step(state: TrainingState, batch: Batch) -> tuple[TrainingState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        (value, metrics), gradient = mean_over_parts(
            partial(with_gradient, state.params), batch, key, config.accumulate
        )
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        update, moments = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, optax.tree.scale(state.rate_scale, update))
        average = state.average
        if average is not None:
            average = _averaged(average, params, state.step, config.ema_decay)
        # Selection, not a branch, at which a GPU would wait for its host; and not a product with 0: 0 · NaN is NaN.
        params, moments, average = jax.tree.map(
            partial(jnp.where, finite), (params, moments, average), (state.params, state.optimiser, state.average)
        )
        skipped = 1 - finite.astype(jnp.int32)
        metrics = {**metrics, "loss": value, "gradient_norm": norm, "skipped": skipped}
        return dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            optimiser=moments,
            average=average,
            skipped=state.skipped + skipped,
        ), metrics

    return step


def _averaged(average: Any, params: Any, step: AnyArray, decay: float) -> Any:
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, average, params)
