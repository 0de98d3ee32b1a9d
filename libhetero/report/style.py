"""How every figure looks, and how it is saved."""

from __future__ import annotations

import os
from colorsys import hls_to_rgb
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from libhetero.files import replacing

GREY = "#b4b4b4"
DARK = "#333333"
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7b3fa0",
    "#8c6d31",
    "#a8c81e",
    "#b2182b",
    "#1b9e9e",
    "#5c5c8a",
)
GOLDEN = 0.618034  # of a turn
LIGHTNESS = (0.36, 0.5, 0.64)
DOTS_PER_INCH = 150


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure of `width` × `height` inches and its axes, an array (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.ravel():
        clean(one)
    return figure, axes


def clean(axes: Axes) -> None:
    """Leave the left and bottom spine and quiet ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(DARK)
    axes.tick_params(labelsize=8, colors=DARK, width=0.8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Write a PNG beside its place and rename it there."""
    with replacing(path) as beside:
        figure.savefig(beside, dpi=DOTS_PER_INCH, format="png")


def colour_of(label: int) -> str:
    """Return the colour of a class or region 1, 2, …; grey for 0 and below (core, unassigned)."""
    return GREY if label <= 0 else PALETTE[(label - 1) % len(PALETTE)]


def colours_of(labels: Int[np.ndarray, "points"]) -> Shaped[np.ndarray, "points *rgb"]:
    """Return red, green and blue, 0 to 1, for every label: as `colour_of` for up to twelve of them.

    More labels turn the hue by the golden angle each, at three lightnesses, so that hundreds remain apart
    from their neighbours in number.
    """
    highest = int(np.max(labels, initial=0))
    if highest <= len(PALETTE):
        table = [to_rgb(colour_of(label)) for label in range(highest + 1)]
    else:
        turns = ((GOLDEN * label % 1, LIGHTNESS[label % 3], 0.65) for label in range(1, highest + 1))
        table = [to_rgb(GREY), *(hls_to_rgb(*turn) for turn in turns)]
    return np.array(table)[np.maximum(labels, 0)]


def marker_size(points: int) -> float:
    """Return a marker area, points², that keeps a cloud of this many readable."""
    return float(np.clip(6000 / max(points, 1), 0.6, 14))
