"""Figures of the latents of particles: principal components, colours by what is known, density with its states."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from libhetero.report.style import (
    DARK,
    LEGEND,
    MANY,
    PALETTE,
    axis_names,
    class_colours,
    class_name,
    colour_bar,
    colours_of,
    component_name,
    marker_size,
    new_figure,
    save_figure,
    title,
)

COMPONENTS = 4  # at most, whose pairs are drawn
COLUMNS = 3  # panels side by side
MOST_GROUPS = 12
CLASS = "class"  # the column that is coloured as classes are in every figure
BESIDE: dict[str, Any] = {
    "fontsize": LEGEND,
    "frameon": False,
    "labelcolor": DARK,
    "loc": "upper left",
    "bbox_to_anchor": (1.0, 1.0),
    "handletextpad": 0.3,
}
CLIPPED = (1, 99)  # percentiles of a column that its colours span


def draw_components(
    path: str | os.PathLike,
    scores: Float[np.ndarray, "particles components"],
    explained: Float[np.ndarray, "components"],
) -> None:
    """Draw particles along pairs of principal components of their latents, as counts in hexagons.

    Parameters
    ----------
    path : PNG to make.
    scores : coordinates along the components.
    explained : part of the latents' variance that each holds.
    """
    count = min(scores.shape[1], COMPONENTS)
    if count == 1:
        figure, ((axes,),) = new_figure(4.6, 3.6)
        axes.hist(scores[:, 0], bins="auto", color=PALETTE[0])
        axes.set_xlabel(component_name(0, explained))
        axes.set_ylabel("particles")
        save_figure(figure, path)
        return
    pairs = list(combinations(range(count), 2))
    rows = -(-len(pairs) // COLUMNS)
    figure, panels = new_figure(3.7 * min(len(pairs), COLUMNS), 3.3 * rows, rows, min(len(pairs), COLUMNS))
    for axes, (first, second) in zip(panels.ravel(), pairs, strict=False):
        drawn = axes.hexbin(scores[:, first], scores[:, second], gridsize=40, mincnt=1, cmap="viridis", linewidths=0.1)
        axes.set_xlabel(component_name(first, explained))
        axes.set_ylabel(component_name(second, explained))
        colour_bar(axes, drawn, "particles in a hexagon")
    for axes in panels.ravel()[len(pairs) :]:
        axes.set_axis_off()
    save_figure(figure, path)


def draw_columns(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "particles 2"],
    columns: Mapping[str, np.ndarray],
    names: tuple[str, str] | None = None,
) -> None:
    """Draw particles in a plane, a panel for each column, coloured by its values.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates.
    columns : at least one, by name: numbers, coloured from their 1st to their 99th percentile, or at most twelve
        different whole numbers, which are groups; "class" has the colours of classes, -1 for none.
    names : of the axes, from `axis_names`; None for those of UMAP.
    """
    rows, side = -(-len(columns) // COLUMNS), min(len(columns), COLUMNS)
    figure, panels = new_figure(4.2 * side, 3.6 * rows, rows, side)
    order = np.random.default_rng(0).permutation(len(plane))
    across, up = names or axis_names("umap")
    size, image = marker_size(len(plane)), len(plane) > MANY
    for axes, (name, values) in zip(panels.ravel(), columns.items(), strict=False):
        shown = order[np.isfinite(values[order].astype(np.float64))]
        groups = np.unique(values[shown])
        x, y = plane[shown].T
        if np.issubdtype(values.dtype, np.integer) and len(groups) <= MOST_GROUPS:
            of_classes = name == CLASS
            shades = class_colours(groups) if of_classes else colours_of(1 + np.arange(len(groups)))
            colour = shades[np.searchsorted(groups, values[shown])]
            axes.scatter(x, y, s=size, c=colour, linewidths=0, rasterized=image)
            handles = [
                Line2D([], [], linestyle="", marker="o", markersize=5, color=shade, label=text)
                for shade, text in zip(shades, map(class_name if of_classes else str, groups), strict=True)
            ]
            axes.legend(handles=handles, **BESIDE)
        else:
            low, high = np.percentile(values[shown], CLIPPED) if len(shown) else (0, 1)
            drawn = axes.scatter(
                x, y, s=size, c=values[shown], cmap="viridis", vmin=low, vmax=high, linewidths=0, rasterized=image
            )
            colour_bar(axes, drawn, name)
        title(axes, name)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
    for axes in panels.ravel()[len(columns) :]:
        axes.set_axis_off()
    save_figure(figure, path)


def draw_density(
    path: str | os.PathLike,
    x: Float[np.ndarray, "columns"],
    y: Float[np.ndarray, "rows"],
    value: Float[np.ndarray, "rows columns"],
    states: Float[np.ndarray, "states 2"],
    share: Float[np.ndarray, "states"],
    way: Float[np.ndarray, "nodes 2"],
    explained: Float[np.ndarray, "components"],
) -> None:
    """Draw the density of particles in the plane of two principal components, its states and the path between two.

    Parameters
    ----------
    path : PNG to make.
    x, y : coordinates of the cells.
    value : of the density, relative to its highest.
    states, share : places of the maxima, and the part of the particles about each.
    way : nodes of the path; none where there is one state.
    explained : part of the latents' variance that each component holds.
    """
    figure, ((axes,),) = new_figure(5.0, 4.0)
    drawn = axes.pcolormesh(x, y, value / value.max(), cmap="magma_r", shading="nearest", rasterized=True)
    colour_bar(axes, drawn, "density, relative to the highest")
    if len(way):
        axes.plot(*way.T, color=PALETTE[0], linewidth=1.6)
    axes.scatter(*states.T, s=46, color="white", edgecolors=PALETTE[0], linewidths=1.4, zorder=3)
    for number, (place, part) in enumerate(zip(states, share, strict=True)):
        text = f"state {number} ({100 * part:.0f} %)"
        outline = [withStroke(linewidth=2, foreground="white")]
        offset = {"xytext": (6, 6), "textcoords": "offset points"}
        axes.annotate(text, place, **offset, fontsize=LEGEND, color=DARK, path_effects=outline)
    axes.set_xlabel(component_name(0, explained))
    axes.set_ylabel(component_name(1, explained))
    save_figure(figure, path)


def legend_of_states(share: Float[np.ndarray, "states"]) -> str:
    """Return in a sentence what the density shows."""
    if len(share) < 2:
        return "The density has one maximum: the particles are one state or a continuum about it."
    parts = ", ".join(f"{100 * one:.0f} %" for one in share)
    text = (
        f"The density has {len(share)} maxima that stand out ({parts} of the particles); the line is the likeliest path"
    )
    return f"{text} between the two most populated."
