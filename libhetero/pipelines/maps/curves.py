"""Fourier shell correlations with where they are read off, as figures take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from libhetero.metrics.fsc import resolution
from libhetero.pipelines.maps.postprocess import HALF_MAPS, RANDOM, Postprocessed
from libhetero.report.fsc import Curve, draw_fsc


def read_off(
    values: Float[np.ndarray, "shells"], threshold: float, pixel_size: float, number: int | None = None
) -> Curve:
    """Return a curve that is marked and described where it first falls below a threshold.

    A legend says "8.3 Å at 0.143", or "4.1 Å or better at 0.143" where the curve is above it up to the last shell.

    Parameters
    ----------
    values : (n // 2,) of an FSC.
    threshold : 0.143 for half-maps, 0.5 for a map against a model.
    pixel_size : Å.
    number : of the class, from 0; None where it is of none.
    """
    values = np.asarray(values)
    falls = bool(np.any(values < threshold))
    found = resolution(values, threshold, pixel_size)
    said = f"{found:.3g} Å{'' if falls else ' or better'} at {threshold:g}"
    return Curve(values, threshold, found if falls else None, said, number)


def draw_fsc_of_map(output: Path, fsc: Float[np.ndarray, "shells"], found: Postprocessed, pixel_size: float) -> Path:
    """Draw OUT_fsc.png, the correlations of a map's half-maps, read off where they tell a resolution; return it.

    Parameters
    ----------
    output : the map.
    fsc : of the half-maps as they are.
    found : what there is to say besides.
    pixel_size : Å.
    """
    figure = output.with_name(f"{output.stem}_fsc.png")
    curves = {"half-maps": read_off(fsc, HALF_MAPS, pixel_size)}
    for name, values in found.curves.items():
        random = name == RANDOM
        curves[name] = Curve(values) if random else read_off(values, HALF_MAPS, pixel_size)
    draw_fsc(figure, curves, pixel_size)
    return figure
