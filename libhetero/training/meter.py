"""Reads the metrics of each step a little behind the device, and stops a run that has diverged."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import jax

from libhetero.errors import TrainingError

IN_FLIGHT = 2


class Meter:
    """Averages metrics between reports.

    At most two steps are left unread: enough to keep a device busy, few enough for several CPU
    devices, where many steps in flight with a sum over devices can lock each other.

    Parameters
    ----------
    remedy : what to do when the loss is not finite, for the message.
    """

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy
        self._unread: deque[tuple[int, int, Any]] = deque()
        self._sums: dict[str, float] = {}
        self._weight = 0
        self.losses: list[float] = []

    def add(self, step: int, particles: int, metrics: dict[str, jax.Array]) -> None:
        """Take the metrics of the step that ends at `step` and met `particles` particles."""
        self._unread.append((step, particles, metrics))
        while len(self._unread) > IN_FLIGHT:
            self._read()

    def flush(self) -> None:
        """Read every step; afterwards the device is idle.

        Raises
        ------
        TrainingError : if a loss or a gradient is not finite.
        """
        while self._unread:
            self._read()

    def means(self) -> dict[str, float]:
        """Return the mean of every metric over the particles since the last call."""
        self.flush()
        means = {name: total / self._weight for name, total in sorted(self._sums.items())}
        self._sums, self._weight = {}, 0
        return means

    def _read(self) -> None:
        step, particles, metrics = self._unread.popleft()
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(values.get(name, 0.0)):
                raise TrainingError(
                    f"step {step}: the {name.replace('_', ' ')} is {values[name]}; expected a "
                    f"finite number. {self._remedy}"
                )
        self.losses.append(values["loss"])
        self._weight += particles
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + particles * value

