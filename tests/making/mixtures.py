"""Mixtures of Gaussians: of given places, or drawn at random about the box centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from libhetero.records import Gaussians


def gaussians(position: ArrayLike, amplitude: ArrayLike = 1.0, sigma: ArrayLike = 8.0) -> Gaussians:
    """Return Gaussians as float32; one amplitude or width for all may be given, positions and widths in Å."""
    position = np.asarray(position, np.float32)
    shape = position.shape[:-1]
    amplitude, sigma = (np.array(np.broadcast_to(values, shape), np.float32) for values in (amplitude, sigma))
    return Gaussians(position=position, amplitude=amplitude, sigma=sigma)


def mixture(
    count: int = 20,
    seed: int = 0,
    *,
    spread: float = 8.0,
    amplitude: float | tuple[float, float] = (0.5, 2.0),
    sigma: float | tuple[float, float] = (4.0, 6.0),
) -> Gaussians:
    """Return Gaussians about the box centre.

    Parameters
    ----------
    spread : deviation of their positions on each axis, in Å.
    amplitude, sigma : one number for all, or the least and the most of what is drawn; widths in Å.
    """
    random = np.random.default_rng(seed)
    position = random.normal(0, spread, (count, 3))
    drawn = [values if np.ndim(values) == 0 else random.uniform(*values, count) for values in (amplitude, sigma)]
    return gaussians(position, *drawn)


def compact_mixture(count: int = 6) -> Gaussians:
    """Return few narrow Gaussians well inside a box of 48 Å."""
    return mixture(count, spread=4.0, sigma=(2.0, 3.0))
