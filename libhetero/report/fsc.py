"""Fourier shell correlations as a figure."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from libhetero.report.style import DARK, GREY, PALETTE, new_figure, save_figure

THRESHOLDS = (0.5, 0.143)


def draw_fsc(
    path: str | os.PathLike, curves: Mapping[str, Float[np.ndarray, "shells"]], pixel_size: float
) -> None:
    """Draw curves against the spatial frequency, with resolutions in Å and lines at 0.5 and 0.143.

    Parameters
    ----------
    path : PNG to make.
    curves : legend and (n // 2,) values of each, shell i at i / n cycles per voxel.
    pixel_size : Å.
    """
    figure, axes = new_figure(5.2, 3.4)
    axis = axes[0, 0]
    for threshold in THRESHOLDS:
        axis.axhline(threshold, color=GREY, linewidth=0.7, linestyle=":")
    for (name, values), colour in zip(curves.items(), PALETTE, strict=False):
        frequency = np.arange(len(values)) / (2 * len(values) * pixel_size)
        axis.plot(frequency, values, label=name, color=colour, linewidth=1.4)
    highest = 0.5 / pixel_size
    ticks = highest * np.arange(1, 6) / 5
    axis.set_xlim(0, highest)
    axis.set_ylim(min(-0.05, *(float(np.min(values)) for values in curves.values())), 1.02)
    axis.set_xticks(ticks, [f"{1 / tick:.3g}" for tick in ticks])
    axis.set_xlabel("resolution (Å)")
    axis.set_ylabel("Fourier shell correlation")
    axis.legend(fontsize=8, frameon=False, labelcolor=DARK)
    save_figure(figure, path)
