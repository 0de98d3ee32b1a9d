"""Whether what changes from one particle's volume to the next is what truly changes.

With v_i the volume given to particle i, t_i its true one, and v̄, t̄ their means over particles:

    correlation = Σ⟨v_i - v̄, t_i - t̄⟩ / √( Σ|v_i - v̄|² Σ|t_i - t̄|² )
    extent      = a Σ⟨v_i - v̄, t_i - t̄⟩ / Σ|t_i - t̄|²,   a the least-squares scale of v̄ to t̄

Both are 1 for true volumes and 0 for one volume for all. A volume's own mean, which images do not fix, counts for
nothing.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float


class ChangeSums:
    """The sums of the two numbers over particles that come one by one."""

    def __init__(self) -> None:
        self._count = 0
        self._means: np.ndarray | None = None
        self._products = np.zeros((2, 2))

    def add(self, found: Float[np.ndarray, "n n n"], true: Float[np.ndarray, "n n n"]) -> None:
        """Add one particle's volume and its true one, both masked alike."""
        pair = np.stack([volume.reshape(-1) - volume.mean(dtype=np.float64) for volume in (found, true)])
        if self._means is None:
            self._means = np.zeros_like(pair)
        self._count += 1
        before = pair - self._means
        self._means += before / self._count
        self._products += before @ (pair - self._means).T

    @property
    def correlation(self) -> float:
        """Of the changes; 0 where either does not change."""
        power = self._products[0, 0] * self._products[1, 1]
        return float(self._products[0, 1] / math.sqrt(power)) if power > 0 else 0.0

    @property
    def extent(self) -> float:
        """How much of the true change is there; not a number where nothing changes truly."""
        if self._means is None or self._products[1, 1] <= 0:
            return math.nan
        found, true = self._means
        power = float(found @ found)
        return float(found @ true) / power * float(self._products[0, 1] / self._products[1, 1]) if power > 0 else 0.0


def first_component(rows: Float[np.ndarray, "particles numbers"]) -> Float[np.ndarray, "particles"]:
    """Return the first principal component of some numbers of each particle, without regard to its scale."""
    centred = rows - rows.mean(axis=0, keepdims=True)
    if len(rows) <= rows.shape[1]:
        return np.linalg.eigh(centred @ centred.T)[1][:, -1]
    return centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
