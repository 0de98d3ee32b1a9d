"""A held-out part of the particles: it shows overfitting, keeps what came before it, and stops it.

After every epoch the loss of the particles that are not trained on is taken at the parameters to use
(the running average where it is on), with the same random draws each time, so that epochs compare. The
parameters of the least such loss are the run's result; `PATIENCE` epochs without a lower one end it.
Nothing that is learnt sees them: neither the parameters nor what a model measures on its sample. The
images' contrast and their common deviation are measured on all particles.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from libhetero.errors import ConfigurationError, TrainingError
from libhetero.records import Batch
from libhetero.training import sharding
from libhetero.training.accumulation import mean_over_parts
from libhetero.training.configuration import TrainingConfig
from libhetero.training.optimiser import Kept, Loss, TrainingState

LOGGER = logging.getLogger(__name__)
PATIENCE = 3
TOLD = ("signal",)  # of the model's metrics, beside the loss
STREAM = 1  # of random numbers, apart from that of the epochs' orders


def split(count: int, config: TrainingConfig) -> tuple[Int[np.ndarray, "trained"], Int[np.ndarray, "tested"]]:
    """Return the particles to train on and those held out, a function of the seed; both in rising order.

    Raises
    ------
    ConfigurationError : if one of them would be empty.
    """
    if not config.test_fraction:
        return np.arange(count), np.arange(0)
    held = round(config.test_fraction * count)
    if not 0 < held < count:
        raise ConfigurationError(
            f"--usetest {config.test_fraction:g}: holds out {held} of {count} particles; expected some, "
            "and some left to train on. Give another fraction."
        )
    order = np.random.default_rng([config.seed, 0, STREAM]).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


class HeldOut:
    """The particles that training does not see.

    Parameters
    ----------
    loss : of the model; called with training=False.
    batches : makes their batches, in order, already on the devices.
    config : of the training.
    mesh : the devices.
    """

    def __init__(self, loss: Loss, batches: Callable[[], Iterator[Batch]], config: TrainingConfig, mesh: Mesh) -> None:
        self.batches, self.config, self.mesh = batches, config, mesh
        whole, cut = sharding.replicated(mesh), sharding.over_batch(mesh)

        def of_batch(params: Any, batch: Batch, number: jax.Array) -> tuple[Any, jax.Array]:
            key = jax.random.fold_in(jax.random.key(config.seed), number)

            def of_part(part: Batch, key: jax.Array) -> dict[str, jax.Array]:
                value, metrics = loss(params, part, key, training=False)
                return {"test_loss": value} | {f"test_{name}": metrics[name] for name in TOLD if name in metrics}

            return mean_over_parts(of_part, batch, key, config.accumulate), jnp.sum(batch.weight)

        self._of_batch = jax.jit(of_batch, in_shardings=(whole, cut, None), out_shardings=(whole, whole))

    def judge(self, state: TrainingState, epoch: int) -> tuple[TrainingState, dict[str, float]]:
        """Return the state with the best parameters so far kept, and what the held-out particles say.

        A loss that is not finite is none gained: training may still go back to a state where it was.
        """
        params = state.current()
        found = self._means(params)
        value = found["test_loss"]
        if not np.isfinite(value):
            LOGGER.warning("epoch %d: the loss of the held-out particles is %g", epoch, value)
        if value < float(state.held().loss):
            copy = jax.tree.map(jnp.array, params)
            loss, reached = sharding.place_replicated((np.float32(value), np.int32(epoch)), self.mesh)
            state = dataclasses.replace(state, kept=Kept(loss, reached, copy))
        return state, found

    def exhausted(self, state: TrainingState, epoch: int) -> bool:
        """Return whether the last `PATIENCE` epochs have not lowered the loss.

        Raises
        ------
        TrainingError : if it was finite in none of them.
        """
        best = int(state.held().epoch)
        if epoch >= PATIENCE and not best:
            raise TrainingError(
                f"epoch {epoch}: the loss of the held-out particles is not finite, as in every epoch before; "
                f"expected a finite number. Try a lower learning rate than {self.config.learning_rate:g}."
            )
        return epoch - best >= PATIENCE

    def _means(self, params: Any) -> dict[str, float]:
        """Return the means over the held-out particles."""
        sums: dict[str, float] = {}
        weight = 0.0
        for number, batch in enumerate(self.batches()):
            values, count = jax.device_get(self._of_batch(params, batch, np.int32(number)))
            weight += float(count)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value) * float(count)
        return {name: total / weight for name, total in sums.items()}
