"""Figures of a comparison of runs: a cross-table, correlations of latents beside chance, and all pairs as a matrix."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import MaxNLocator

from libhetero.report.style import DARK, GREY, PALETTE, new_figure, save_figure

MOST_WRITTEN = 24  # rows or columns of a table whose numbers are written into it


def draw_cross_table(
    path: str | os.PathLike,
    table: Int[np.ndarray, "rows columns"],
    names: tuple[Sequence[int], Sequence[int]],
    runs: tuple[str, str],
) -> None:
    """Draw how many particles are in each class of two runs, in shades of the part of the row's class.

    Parameters
    ----------
    path : PNG to make.
    table : particles; matched classes first.
    names : of the classes of the rows and of the columns.
    runs : names of both.
    """
    rows, columns = table.shape
    figure, ((axes,),) = new_figure(min(2.4 + 0.42 * columns, 14), min(1.6 + 0.34 * rows, 12))
    part = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(part, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.set_label(f"part of the class of {runs[0]}", fontsize=8, color=DARK)
    bar.ax.tick_params(labelsize=8, colors=DARK)
    if max(rows, columns) <= MOST_WRITTEN:
        axes.set_xticks(range(columns), [str(one) for one in names[1]])
        axes.set_yticks(range(rows), [str(one) for one in names[0]])
        for row, column in np.argwhere(table > 0):
            colour = "white" if part[row, column] > 0.6 else DARK
            axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=7, color=colour)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel(f"class of {runs[1]} ({columns})")
    axes.set_ylabel(f"class of {runs[0]} ({rows})")
    save_figure(figure, path)


def draw_correlations(path: str | os.PathLike, correlations: Sequence[float], chance: float) -> None:
    """Draw the canonical correlations of two latents, the best first, and what chance reaches.

    Parameters
    ----------
    path : PNG to make.
    correlations : held out.
    chance : that the best stays below by chance, 19 times of 20.
    """
    figure, axes = new_figure(5.2, 3.0)
    axis = axes[0, 0]
    number = 1 + np.arange(len(correlations))
    colours = [PALETTE[0] if one > chance else GREY for one in correlations]
    axis.bar(number, list(correlations), color=colours, width=0.7)
    axis.axhline(chance, color=PALETTE[1], linewidth=1.0, linestyle="--", label=f"chance: below {chance:.2f}")
    axis.axhline(0, color=DARK, linewidth=0.7)
    axis.set_ylim(min(-0.05, *correlations), 1.02)
    axis.set_xlabel("pair of directions, one of each run's latents")
    axis.set_ylabel("canonical correlation")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}  # where no bar is
    axis.legend(fontsize=8, frameon=False, labelcolor=DARK, **above)
    save_figure(figure, path)


def draw_matrices(
    path: str | os.PathLike, panels: Mapping[str, Float[np.ndarray, "runs runs"]], runs: Sequence[str]
) -> None:
    """Draw what all pairs of runs have in common, a panel for each measure; NaN where it is not known.

    Parameters
    ----------
    path : PNG to make.
    panels : title, and values from 0, by chance, to 1.
    runs : names.
    """
    width = 1.6 + 0.75 * len(runs)
    figure, axes = new_figure(max(width, 3.4) * len(panels), 1.4 + 0.6 * len(runs), columns=len(panels))
    for axis, (title, values) in zip(axes[0], panels.items(), strict=True):
        axis.imshow(np.clip(values, 0, 1), vmin=0, vmax=1, cmap="Blues")
        axis.set_xticks(range(len(runs)), list(runs), rotation=40, ha="right")
        axis.set_yticks(range(len(runs)), list(runs))
        axis.set_title(title, fontsize=9, color=DARK, loc="left")
        for row, column in np.argwhere(np.isfinite(values)):
            colour = "white" if values[row, column] > 0.6 else DARK
            axis.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    save_figure(figure, path)
