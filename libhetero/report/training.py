"""The course of a training run as a figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from libhetero.report.style import DARK, PALETTE, new_figure, save_figure

DECADE = 10.0  # from the least to the largest loss, from which on a logarithm helps


def draw_training(path: str | os.PathLike, lines: Sequence[dict[str, Any]]) -> None:
    """Draw the loss, that of the held-out particles, and the learning rate against the epoch.

    Losses that are positive and span a decade are drawn on a logarithmic scale. The least loss of the
    held-out particles, whose parameters are kept, is marked.

    Parameters
    ----------
    path : PNG to make.
    lines : reports of the run, with `epoch`, `loss`, `learning_rate` and perhaps `test_loss`, in order.
    """
    figure, axes = new_figure(6.0, 4.4, rows=2)
    axes[0, 0].get_gridspec().set_height_ratios([3, 1])
    loss, rate = axes[:, 0]
    loss.sharex(rate)
    shown = [_line(loss, lines, "loss", "training", PALETTE[0], "")]
    if any("test_loss" in line for line in lines):
        shown.append(_line(loss, lines, "test_loss", "held-out particles", PALETTE[1], "."))
        _mark_least(loss, *shown[1])
        loss.legend(fontsize=8, frameon=False, labelcolor=DARK, loc="upper right")
    if spans_a_decade(np.concatenate([values for _, values in shown])):
        loss.set_yscale("log")
    loss.set_ylabel("loss")
    loss.tick_params(labelbottom=False)
    _line(rate, lines, "learning_rate", "learning rate", DARK, "")
    rate.set_ylim(bottom=0)
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    figure.align_ylabels()
    save_figure(figure, path)


def spans_a_decade(values: np.ndarray) -> bool:
    """Return whether the finite values are all positive and the largest is ten times the least, or more."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() >= DECADE * finite.min())


def _line(
    axis: Axes, lines: Sequence[dict[str, Any]], name: str, label: str, colour: str, marker: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one value of the reports that have it; return epochs and values."""
    having = [line for line in lines if name in line]
    epochs, values = (np.array([line[key] for line in having], float) for key in ("epoch", name))
    marker = marker or ("." if len(having) == 1 else "")  # a line of one point cannot be seen
    axis.plot(epochs, values, color=colour, label=label, linewidth=1.2, marker=marker)
    return epochs, values


def _mark_least(axis: Axes, epochs: np.ndarray, values: np.ndarray) -> None:
    if np.isfinite(values).any():
        least = int(np.nanargmin(values))
        axis.plot(
            epochs[least],
            values[least],
            color=PALETTE[1],
            marker="o",
            markersize=8,
            fillstyle="none",
            linestyle="",
            label=f"least, epoch {epochs[least]:g}",
        )
