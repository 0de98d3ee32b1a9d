"""Fourier shell correlations with where they are read off, as figures take them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from libhetero.metrics.fsc import described_resolution, resolution
from libhetero.report.fsc import Curve


def read_off(
    values: Float[np.ndarray, "shells"], threshold: float, pixel_size: float, number: int | None = None
) -> Curve:
    """Return a curve that is marked and described where it first falls below a threshold.

    Parameters
    ----------
    values : (n // 2,) of an FSC.
    threshold : 0.143 for half-maps, 0.5 for a map against a model.
    pixel_size : Å.
    number : of the class, from 0; None where it is of none.
    """
    values = np.asarray(values)
    falls = bool(np.any(values < threshold))
    said = described_resolution(values, threshold, pixel_size)
    crossing = resolution(values, threshold, pixel_size) if falls else None
    return Curve(values, threshold, crossing, said if falls else f"to {said}", number)
