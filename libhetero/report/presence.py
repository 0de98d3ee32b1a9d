"""How much of each region is there, over the particles."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from libhetero.report.style import DARK, LEGEND, class_colours, class_name, colour_of, new_figure, save_figure, title


def draw_presence(
    path: str | os.PathLike,
    values: Sequence[Float[np.ndarray, "particles"]],
    classes: Sequence[np.ndarray],
    quantities: Sequence[str],
) -> None:
    """Draw one histogram a region, its classes stacked in their colours; that of a continuum in the region's.

    Parameters
    ----------
    path : PNG to make.
    values : per region, one number a particle.
    classes : per region, the class of each particle; -1 for none.
    quantities : per region, what the numbers are, for the axis.
    """
    count = max(len(values), 1)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = new_figure(3.6 * columns, 2.8 * rows, rows, columns)
    for place in axes.ravel()[len(values) :]:
        place.set_axis_off()
    for number, (value, label) in enumerate(zip(values, classes, strict=True)):
        place = axes.ravel()[number]
        found = np.unique(label[label >= 0])
        draw_distribution(place, value, label, colour_of(number + 1))
        kind = f"{len(found)} classes" if len(found) > 1 else "a continuum, no classes"
        title(place, f"region {number + 1}: {kind}")
        place.set_xlabel(quantities[number])
        place.set_ylabel("particles")
    save_figure(figure, path)


def draw_distribution(
    axes: Axes, value: Float[np.ndarray, "particles"], label: Int[np.ndarray, "particles"], colour: str
) -> None:
    """Draw the histogram of a value: stacked by classes, which a legend names, or of one colour where there are none.

    Parameters
    ----------
    axes : to draw on.
    value : of each particle.
    label : class of each, -1 for none.
    colour : where particles are not told apart.
    """
    edges = np.histogram_bin_edges(value, bins=40)
    found = np.unique(label)
    if len(found[found >= 0]) < 2:
        axes.stairs(np.histogram(value, edges)[0], edges, fill=True, color=colour)
        return
    bottom = np.zeros(len(edges) - 1)
    for one, shade in zip(found, class_colours(found), strict=True):
        inside = label == one
        top = bottom + np.histogram(value[inside], edges)[0]
        axes.stairs(top, edges, baseline=bottom, fill=True, color=shade, label=f"{class_name(one)} ({inside.sum()})")
        bottom = top
    axes.set_ylim(top=1.05 * bottom.max() + 0.16 * len(found) * bottom.max() / (1 + 0.16 * len(found)))
    axes.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK, loc="upper left", handlelength=1.0)
