"""How much of each region is there, over the particles."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.typing import ColorType

from libhetero.report.style import DARK, colour_of, new_figure, save_figure


def draw_presence(
    path: str | os.PathLike,
    values: Sequence[Float[np.ndarray, "particles"]],
    classes: Sequence[np.ndarray],
    quantities: Sequence[str],
) -> None:
    """Draw one histogram a region, its classes stacked in shades.

    Parameters
    ----------
    path : PNG to make.
    values : per region, one number a particle.
    classes : per region, the class of each particle; -1 for none.
    quantities : per region, what the numbers are, for the axis.
    """
    count = max(len(values), 1)
    columns = min(count, 4)
    rows = -(-count // columns)
    figure, axes = new_figure(3.2 * columns, 2.5 * rows, rows, columns)
    for place in axes.ravel()[len(values) :]:
        place.set_axis_off()
    for number, (value, label) in enumerate(zip(values, classes, strict=True)):
        place = axes.ravel()[number]
        found = np.unique(label)
        alphas = np.linspace(0.35, 1.0, len(found))
        colours = [to_rgba(colour_of(number + 1), alpha) for alpha in alphas]
        stacked_histogram(place, value, label, colours)
        title = f"region {number + 1}, {len(found)} classes" if len(found) > 1 else f"region {number + 1}, continuous"
        place.set_title(title, fontsize=9, color=DARK, loc="left")
        place.set_xlabel(quantities[number])
        place.set_ylabel("particles")
    save_figure(figure, path)


def stacked_histogram(
    axes: Axes, value: Float[np.ndarray, "particles"], label: Int[np.ndarray, "particles"], colours: Sequence[ColorType]
) -> None:
    """Stack the histograms of classes, in the order of their labels, a colour each."""
    edges = np.histogram_bin_edges(value, bins=40)
    bottom = np.zeros(len(edges) - 1)
    for one, colour in zip(np.unique(label), colours, strict=True):
        top = bottom + np.histogram(value[label == one], edges)[0]
        axes.stairs(top, edges, baseline=bottom, fill=True, color=colour)
        bottom = top
