"""Fourier shell correlations as a figure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from libhetero.report.style import DARK, GREY, LEGEND, PALETTE, class_colours, new_figure, save_figure, title

THRESHOLDS = (0.5, 0.143)
PLACED = {  # a legend: where curves leave room, its words over the lines of the thresholds
    "fontsize": LEGEND,
    "labelcolor": DARK,
    "loc": "best",
    "edgecolor": "none",
    "framealpha": 0.85,
}


@dataclass(frozen=True, eq=False)
class Curve:
    """A correlation, and where it is read off.

    Parameters
    ----------
    values : (n // 2,), shell i at i / n cycles per voxel.
    threshold : at which it is read off; None where it is not.
    crossing : Å, where it first falls below; None where it never does, or is not read off.
    said : the resolution in words, for the legend; "" for none.
    number : of the class, from 0, whose colour it has; None to take colours in order.
    """

    values: Float[np.ndarray, "shells"]
    threshold: float | None = None
    crossing: float | None = None
    said: str = ""
    number: int | None = None


def draw_fsc(path: str | os.PathLike, curves: Mapping[str, Curve], pixel_size: float) -> None:
    """Draw curves against the spatial frequency, with resolutions in Å, and mark where they fall below a threshold.

    Parameters
    ----------
    path : PNG to make.
    curves : by legend.
    pixel_size : Å.
    """
    figure, axes = new_figure(5.0, 3.6)
    axis = axes[0, 0]
    for place, (name, curve) in enumerate(curves.items()):
        _draw_curve(axis, name, curve, PALETTE[place % len(PALETTE)], pixel_size)
    _finish(axis, list(curves.values()), pixel_size)
    axis.legend(**PLACED)
    save_figure(figure, path)


def draw_class_fsc(
    path: str | os.PathLike,
    half_maps: Mapping[str, Curve],
    network: Mapping[str, Curve] | None = None,
    *,
    pixel_size: float,
) -> None:
    """Draw a curve for each class: of the half-maps and, beside, of the network's volume and the map.

    With more than twelve classes, thin lines and their median.

    Parameters
    ----------
    path : PNG to make.
    half_maps : by class.
    network : the same; None to leave that panel out.
    pixel_size : Å.
    """
    panels = {"half-maps of each class": half_maps}
    if network is not None:
        panels["network's volume and map of each class"] = network
    draw_fsc_panels(path, panels, pixel_size)


def draw_fsc_panels(path: str | os.PathLike, panels: Mapping[str, Mapping[str, Curve]], pixel_size: float) -> None:
    """Draw a panel beside another, each of a curve for each class; of more than twelve, thin ones and their median.

    Parameters
    ----------
    path : PNG to make.
    panels : curves by class, by title.
    pixel_size : Å.
    """
    figure, axes = new_figure(4.9 * len(panels), 3.9, columns=len(panels))
    few = all(len(curves) <= len(PALETTE) for curves in panels.values())
    for axis, (text, curves) in zip(axes[0], panels.items(), strict=True):
        numbers = [place if curve.number is None else curve.number for place, curve in enumerate(curves.values())]
        for (name, curve), colour in zip(curves.items(), class_colours(np.array(numbers, int)), strict=True):
            if few:
                _draw_curve(axis, name, curve, to_hex(colour), pixel_size)
            else:
                axis.plot(_frequency(curve.values, pixel_size), curve.values, color=colour, linewidth=0.5, alpha=0.5)
        if not few:
            median = np.median([curve.values for curve in curves.values()], axis=0)
            read = [curve.crossing for curve in curves.values() if curve.crossing is not None]
            of_them = f"\n(of their resolutions {np.median(read):.3g} Å)" if len(read) == len(curves) else ""
            name = f"median of {len(curves)} classes{of_them}"
            axis.plot(_frequency(median, pixel_size), median, color=DARK, linewidth=2, label=name)
        _finish(axis, list(curves.values()), pixel_size)
        title(axis, text)
        axis.legend(**PLACED)
    save_figure(figure, path)


def _draw_curve(axis: Axes, name: str, curve: Curve, colour: str, pixel_size: float) -> None:
    """Draw one curve, and a dot where it is read off."""
    label = f"{name}: {curve.said}" if curve.said else name
    axis.plot(_frequency(curve.values, pixel_size), curve.values, label=label, color=colour, linewidth=1.4)
    if curve.crossing is not None and curve.threshold is not None:
        axis.plot(
            [1 / curve.crossing], [curve.threshold], marker="o", markersize=5, color=colour, markeredgecolor="white"
        )


def _frequency(values: np.ndarray, pixel_size: float) -> np.ndarray:
    return np.arange(len(values)) / (2 * len(values) * pixel_size)


def _finish(axis: Axes, curves: Sequence[Curve], pixel_size: float) -> None:
    """Draw and label the thresholds, and name the axes: resolutions in Å up to Nyquist."""
    highest = 0.5 / pixel_size
    for threshold in THRESHOLDS:
        axis.axhline(threshold, color=GREY, linewidth=0.9, linestyle=":", zorder=0)
        axis.annotate(
            f"{threshold:g}",
            (highest, threshold),
            xytext=(2, 0),
            textcoords="offset points",
            fontsize=LEGEND,
            color=DARK,
            va="center",
            annotation_clip=False,
        )
    ticks = highest * np.arange(1, 6) / 5
    axis.set_xlim(0, highest)
    axis.set_ylim(min(-0.05, *(float(np.min(curve.values)) for curve in curves)), 1.02)
    axis.set_xticks(ticks, [f"{1 / tick:.3g}" for tick in ticks])
    axis.set_xlabel("resolution (Å)")
    axis.set_ylabel("Fourier shell correlation")
