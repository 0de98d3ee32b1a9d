"""What follows steps that were not finite: skipped, then restored, then given up.

A step whose loss or gradient is not finite is skipped within the compiled step (`optimiser`). After
`PATIENCE` of them in a row the state goes back to the last checkpoint and every later update is multiplied
by `RATE_CUT` once more; below `LEAST_RATE` of the rate asked for, training has diverged. No checkpoint is
written between two skipped steps, so that what is gone back to has made a finite step. The lower rate is
stored by the next checkpoint: a run stopped before it resumes at the rate before. Metrics are the same
on every process, so all of them decide alike.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh

from libhetero.errors import TrainingError
from libhetero.training import sharding
from libhetero.training.configuration import TrainingConfig
from libhetero.training.optimiser import TrainingState

LOGGER = logging.getLogger(__name__)
PATIENCE = 3  # skipped steps in a row
RATE_CUT = 0.5
LEAST_RATE = 1 / 8  # of the rate asked for


@runtime_checkable
class StateStore(Protocol):
    """Where states are kept to go back to."""

    def save(self, state: TrainingState, ended: bool = False) -> None:
        """Keep a state, and whether the held-out particles have ended the run there."""

    def wait(self) -> None:
        """Return once it is safe."""

    def restore(self, like: TrainingState, mesh: Mesh) -> TrainingState:
        """Return the last state kept, on every device."""


class HostCopy:
    """The last state in the memory of this process, for a run without a folder."""

    def __init__(self) -> None:
        self._state: TrainingState | None = None

    def save(self, state: TrainingState, ended: bool = False) -> None:
        """Copy a state from the device."""
        self._state = jax.tree.map(np.array, jax.device_get(state))

    def wait(self) -> None:
        """Return at once: the copy is complete."""

    def restore(self, like: TrainingState, mesh: Mesh) -> TrainingState:
        """Return the last state, on every device."""
        return sharding.place_replicated(self._state, mesh)


class Guard:
    """Counts the steps that were not finite, and decides.

    Parameters
    ----------
    config : of the training.
    state : the run starts from; its counts go on.
    """

    def __init__(self, config: TrainingConfig, state: TrainingState) -> None:
        self._config = config
        self._last = ""
        self.in_a_row = 0
        self.skipped, self.rate_scale = int(state.skipped), float(state.rate_scale)

    def note(self, step: int, values: dict[str, float]) -> bool:
        """Take loss, gradient norm and `skipped` of one step; return whether it was a finite one."""
        if not values["skipped"]:
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.skipped += 1
        name = "gradient norm" if math.isfinite(values["loss"]) else "loss"
        self._last = f"step {step}: the {name} is {values[name.replace(' ', '_')]}"
        if self.skipped & (self.skipped - 1) == 0:  # the 1st, 2nd, 4th …: a line for each could be thousands
            LOGGER.warning("%s; the step is skipped (%d so far)", self._last, self.skipped)
        return False

    def exhausted(self) -> bool:
        """Return whether so many steps in a row were skipped that training must go back."""
        return self.in_a_row >= PATIENCE

    def go_back(self, state: TrainingState, store: StateStore, mesh: Mesh) -> TrainingState:
        """Return the last state kept, with the count of skipped steps of `state` and a lower rate.

        Raises
        ------
        TrainingError : if the rate is as low as it gets.
        """
        scale = self.rate_scale * RATE_CUT
        if scale < LEAST_RATE:
            raise TrainingError(
                f"{self._last}; expected a finite number, and at {self.rate_scale:g} of the rate it is not. Try "
                f"a lower learning rate than {self._config.learning_rate:g} or a smaller gradient_clip; at the "
                "first step, check the starting model. Earlier checkpoints are kept."
            )
        store.wait()
        restored = store.restore(jax.eval_shape(lambda tree: tree, state), mesh)
        self.in_a_row, self.rate_scale = 0, scale
        LOGGER.warning(
            "%d steps in a row were not finite: back to step %d, with %g of the learning rate",
            PATIENCE,
            int(restored.step),
            scale,
        )
        counts = sharding.place_replicated((np.float32(scale), np.int32(self.skipped)), mesh)
        return dataclasses.replace(restored, rate_scale=counts[0], skipped=counts[1])

    def values(self) -> dict[str, Any]:
        """Return what belongs into each line of the log."""
        return {"skipped": self.skipped} | ({"rate_scale": self.rate_scale} if self.rate_scale < 1 else {})
