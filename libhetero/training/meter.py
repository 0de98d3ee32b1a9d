"""Reads the metrics of each step a little behind the device, and averages them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import jax

IN_FLIGHT = 2


class Meter:
    """Averages metrics between reports.

    At most two steps are left unread: enough to keep a device busy, few enough for several CPU
    devices, where many steps in flight with a sum over devices can lock each other.

    Parameters
    ----------
    note : called with the number and the metrics of every step; returns whether they count for the mean.
    start : steps done before the first.
    """

    def __init__(self, note: Callable[[int, dict[str, float]], bool], start: int = 0) -> None:
        self._note, self._start = note, start
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
        """Read every step; afterwards the device is idle."""
        while self._unread:
            self._read()

    def means(self) -> dict[str, float]:
        """Return the mean of every metric over the particles since the last call; nothing if none counted."""
        self.flush()
        means = {name: total / self._weight for name, total in sorted(self._sums.items())}
        self._sums, self._weight = {}, 0
        return means

    def go_back(self, step: int) -> None:
        """Forget every step after `step`."""
        self._unread.clear()
        self._sums, self._weight = {}, 0
        del self.losses[max(step - self._start, 0) :]
        self._start = min(self._start, step)

    def _read(self) -> None:
        step, particles, metrics = self._unread.popleft()
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self.losses.append(values["loss"])
        counts = self._note(step, values)
        del values["skipped"]
        if not counts:
            return
        self._weight += particles
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + particles * value
