"""Fourier shell correlations as a figure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from libhetero.report.style import DARK, GREY, PALETTE, colours_of, new_figure, save_figure

THRESHOLDS = (0.5, 0.143)


def draw_fsc(path: str | os.PathLike, curves: Mapping[str, Float[np.ndarray, "shells"]], pixel_size: float) -> None:
    """Draw curves against the spatial frequency, with resolutions in Å and lines at 0.5 and 0.143.

    Parameters
    ----------
    path : PNG to make.
    curves : legend and (n // 2,) values of each, shell i at i / n cycles per voxel.
    pixel_size : Å.
    """
    figure, axes = new_figure(5.2, 3.4)
    axis = axes[0, 0]
    for (name, values), colour in zip(curves.items(), PALETTE, strict=False):
        axis.plot(_frequency(values, pixel_size), values, label=name, color=colour, linewidth=1.4)
    _finish(axis, curves.values(), pixel_size)
    axis.legend(fontsize=8, frameon=False, labelcolor=DARK, loc="upper right")
    save_figure(figure, path)


def draw_class_fsc(
    path: str | os.PathLike,
    half_maps: Mapping[str, Float[np.ndarray, "shells"]],
    network: Mapping[str, Float[np.ndarray, "shells"]] | None = None,
    *,
    pixel_size: float,
) -> None:
    """Draw a curve for each class: of the half-maps and, beside, of the network's volume and the map.

    With more than twelve classes, thin lines and their median.

    Parameters
    ----------
    path : PNG to make.
    half_maps : class and (n // 2,) values of each.
    network : the same; None to leave that panel out.
    pixel_size : Å.
    """
    panels = {"half-maps of each class": half_maps}
    if network is not None:
        panels["network's volume and map of each class"] = network
    draw_fsc_panels(path, panels, pixel_size)


def draw_fsc_panels(
    path: str | os.PathLike, panels: Mapping[str, Mapping[str, Float[np.ndarray, "shells"]]], pixel_size: float
) -> None:
    """Draw a panel beside another, each of a curve for each class; of more than twelve, thin ones and their median.

    Parameters
    ----------
    path : PNG to make.
    panels : title, and class and (n // 2,) values of each; all of the same classes.
    pixel_size : Å.
    """
    figure, axes = new_figure(5.2 * len(panels), 3.8, columns=len(panels))
    few = all(len(curves) <= len(PALETTE) for curves in panels.values())
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        colours = colours_of(1 + np.arange(len(curves)))
        for (name, values), colour in zip(curves.items(), colours, strict=True):
            axis.plot(
                _frequency(values, pixel_size),
                values,
                label=name if few else None,
                color=colour,
                linewidth=1.3 if few else 0.5,
                alpha=1.0 if few else 0.5,
            )
        if not few:
            median = np.median(list(curves.values()), axis=0)
            axis.plot(
                _frequency(median, pixel_size),
                median,
                color=DARK,
                linewidth=2,
                label=f"median of {len(curves)} classes",
            )
        _finish(axis, curves.values(), pixel_size)
        axis.set_title(title, fontsize=10, color=DARK, loc="left")
    axes[0, -1].legend(fontsize=7, frameon=False, labelcolor=DARK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path)


def _frequency(values: np.ndarray, pixel_size: float) -> np.ndarray:
    return np.arange(len(values)) / (2 * len(values) * pixel_size)


def _finish(axis: Axes, curves: Iterable[np.ndarray], pixel_size: float) -> None:
    """Draw the thresholds, and name the axes: resolutions in Å up to Nyquist."""
    for threshold in THRESHOLDS:
        axis.axhline(threshold, color=GREY, linewidth=0.7, linestyle=":", zorder=0)
    highest = 0.5 / pixel_size
    ticks = highest * np.arange(1, 6) / 5
    axis.set_xlim(0, highest)
    axis.set_ylim(min(-0.05, *(float(np.min(values)) for values in curves)), 1.02)
    axis.set_xticks(ticks, [f"{1 / tick:.3g}" for tick in ticks])
    axis.set_xlabel("resolution (Å)")
    axis.set_ylabel("Fourier shell correlation")
