"""Figures of the latents of particles: principal components, colours by what is known, density with its states."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from jaxtyping import Float
from matplotlib.patheffects import withStroke

from libhetero.report.style import DARK, PALETTE, marker_size, new_figure, save_figure

COMPONENTS = 4  # at most, whose pairs are drawn
COLUMNS = 3  # panels side by side
MOST_GROUPS = 12
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
        axes.set_xlabel(_component(0, explained))
        axes.set_ylabel("particles")
        save_figure(figure, path)
        return
    pairs = list(combinations(range(count), 2))
    rows = -(-len(pairs) // COLUMNS)
    figure, panels = new_figure(3.7 * min(len(pairs), COLUMNS), 3.3 * rows, rows, min(len(pairs), COLUMNS))
    for axes, (first, second) in zip(panels.ravel(), pairs, strict=False):
        drawn = axes.hexbin(scores[:, first], scores[:, second], gridsize=40, mincnt=1, cmap="viridis", linewidths=0.1)
        axes.set_xlabel(_component(first, explained))
        axes.set_ylabel(_component(second, explained))
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
        bar.set_label("particles", fontsize=8, color=DARK)
        bar.ax.tick_params(labelsize=7, colors=DARK)
    for axes in panels.ravel()[len(pairs) :]:
        axes.set_axis_off()
    save_figure(figure, path)


def _component(number: int, explained: np.ndarray) -> str:
    return f"PC {number + 1} ({100 * explained[number]:.1f} % of the variance)"


def draw_columns(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "particles 2"],
    columns: Mapping[str, np.ndarray],
    axis: str = "UMAP",
) -> None:
    """Draw particles in a plane, a panel for each column, coloured by its values.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates.
    columns : at least one, by name: numbers, coloured from their 1st to their 99th percentile, or at most twelve
        different whole numbers, which are groups.
    axis : what the axes are, "UMAP" or "PC".
    """
    rows, side = -(-len(columns) // COLUMNS), min(len(columns), COLUMNS)
    figure, panels = new_figure(4.2 * side, 3.6 * rows, rows, side)
    order = np.random.default_rng(0).permutation(len(plane))
    for axes, (name, values) in zip(panels.ravel(), columns.items(), strict=False):
        shown = order[np.isfinite(values[order].astype(np.float64))]
        groups = np.unique(values[shown])
        x, y = plane[shown].T
        if np.issubdtype(values.dtype, np.integer) and len(groups) <= MOST_GROUPS:
            for number, one in enumerate(groups):
                inside = values[shown] == one
                colour = PALETTE[number % len(PALETTE)]
                axes.scatter(
                    x[inside], y[inside], s=marker_size(len(plane)), color=colour, linewidths=0, label=str(one)
                )
            axes.legend(fontsize=7, frameon=False, labelcolor=DARK, markerscale=2, loc="upper right")
        else:
            low, high = np.percentile(values[shown], CLIPPED) if len(shown) else (0, 1)
            drawn = axes.scatter(
                x, y, s=marker_size(len(plane)), c=values[shown], cmap="viridis", vmin=low, vmax=high, linewidths=0
            )
            figure.colorbar(drawn, ax=axes, shrink=0.8).ax.tick_params(labelsize=7, colors=DARK)
        axes.set_title(name, fontsize=10, color=DARK, loc="left")
        axes.set_xlabel(f"{axis} 1")
        axes.set_ylabel(f"{axis} 2")
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
    figure, ((axes,),) = new_figure(5.6, 4.6)
    drawn = axes.pcolormesh(x, y, value / value.max(), cmap="magma_r", shading="nearest", rasterized=True)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.set_label("density of particles, of the highest", fontsize=8, color=DARK)
    bar.ax.tick_params(labelsize=8, colors=DARK)
    if len(way):
        axes.plot(*way.T, color=PALETTE[0], linewidth=1.6)
    axes.scatter(*states.T, s=46, color="white", edgecolors=PALETTE[0], linewidths=1.4, zorder=3)
    for number, (place, part) in enumerate(zip(states, share, strict=True)):
        text = f"state {number} ({100 * part:.0f} %)"
        outline = [withStroke(linewidth=2, foreground="white")]
        offset = {"xytext": (6, 6), "textcoords": "offset points"}
        axes.annotate(text, place, **offset, fontsize=8, color=DARK, path_effects=outline)
    axes.set_xlabel(_component(0, explained))
    axes.set_ylabel(_component(1, explained))
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
