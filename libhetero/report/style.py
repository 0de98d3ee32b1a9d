"""How every figure looks, what its colours and axes are called, and how it is saved."""

from __future__ import annotations

import os
from colorsys import hls_to_rgb
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from libhetero.files import CREATOR, remove_vectors, replacing, vector_format, vector_paths

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
SMALL, LEGEND, LABEL = 9, 8.5, 10  # points: of ticks, of legends and notes, and of axes and titles
MANY = 2000  # points from which on a cloud is an image within a vector figure, which it would make slow to open
EDITABLE: Any = {"pdf.fonttype": 42, "svg.fonttype": "none"}  # text stays text
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": CREATOR},
    "svg": {"Date": None, "Creator": CREATOR},
}
NAMES = {"umap": "UMAP", "pca": "PC"}  # what axes of a plane are called


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
    axes.tick_params(labelsize=SMALL, colors=DARK, width=0.8)
    axes.xaxis.label.set_fontsize(LABEL)
    axes.yaxis.label.set_fontsize(LABEL)


def title(axes: Axes, text: str) -> None:
    """Write a title above the left end of the axes."""
    axes.set_title(text, fontsize=LABEL, color=DARK, loc="left")


def colour_bar(axes: Axes, drawn: ScalarMappable, text: str) -> None:
    """Add a colour bar beside the axes, named."""
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.set_label(text, fontsize=LEGEND, color=DARK)
    bar.ax.tick_params(labelsize=LEGEND, colors=DARK)


def axis_names(method: str, explained: Float[np.ndarray, "components"] | None = None) -> tuple[str, str]:
    """Return the names of the two axes of a plane, the same in every figure.

    Parameters
    ----------
    method : "umap" or "pca", or what else the axes are.
    explained : part of the variance that each principal component holds; None where it is not known.
    """
    name = NAMES.get(method, method)
    if explained is None:
        return f"{name} 1", f"{name} 2"
    known = [component_name(number, explained) for number in range(min(2, len(explained)))]
    return known[0], known[-1] if len(known) > 1 else f"{name} 2"


def component_name(number: int, explained: Float[np.ndarray, "components"]) -> str:
    """Return the name of the axis of a principal component, counted from 0."""
    return f"{NAMES['pca']} {number + 1} ({100 * explained[number]:.1f} % of the variance)"


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Write a PNG beside its place and rename it there, and so a vector file where one is asked for (`--figure`).

    A vector file that an earlier call wrote and this one was not asked for would show something else, and goes.
    """
    path = Path(path)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=DOTS_PER_INCH, format="png")
    for vector in vector_paths(path):
        kind = vector.suffix[1:]
        if kind == vector_format():
            with replacing(vector) as beside, rc_context(EDITABLE):
                figure.savefig(beside, dpi=2 * DOTS_PER_INCH, format=kind, metadata=METADATA[kind])
        else:
            remove_vectors(vector)


def colour_of(label: int) -> str:
    """Return the colour of a class or region 1, 2, …; grey for 0 and below (core, unassigned)."""
    return GREY if label <= 0 else PALETTE[(label - 1) % len(PALETTE)]


def colours_of(labels: Int[np.ndarray, "points"]) -> Shaped[np.ndarray, "points *rgb"]:
    """Return red, green and blue, 0 to 1, for every label, the same in every figure.

    They are those of `colour_of` up to twelve. Later ones turn the hue by the golden angle each, at three
    lightnesses, so that hundreds remain apart from their neighbours in number.
    """
    highest = int(np.max(labels, initial=0))
    first = [to_rgb(colour_of(label)) for label in range(min(highest, len(PALETTE)) + 1)]
    turns = ((GOLDEN * label % 1, LIGHTNESS[label % 3], 0.65) for label in range(len(PALETTE) + 1, highest + 1))
    return np.array([*first, *(hls_to_rgb(*turn) for turn in turns)])[np.maximum(labels, 0)]


def class_colours(labels: Int[np.ndarray, "points"]) -> Shaped[np.ndarray, "points *rgb"]:
    """Return the colours of classes 0, 1, …, the same in every figure; grey for -1, none."""
    return colours_of(np.asarray(labels) + 1)


def class_name(label: int | np.integer) -> str:
    """Return what a class is called in figures."""
    return "no class" if label < 0 else f"class {int(label)}"


def marker_size(points: int) -> float:
    """Return a marker area, points², that keeps a cloud of this many readable."""
    return float(np.clip(6000 / max(points, 1), 0.6, 14))
