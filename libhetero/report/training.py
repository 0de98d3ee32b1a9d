"""The course of a training run as a figure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from libhetero.report.style import DARK, LEGEND, PALETTE, new_figure, save_figure

FAINT = 0.35  # opacity of what scatters
DECADE = 10.0  # from the least to the largest loss, from which on a logarithm helps


Means = Mapping[str, tuple[np.ndarray, np.ndarray]]


def draw_training(path: str | os.PathLike, lines: Sequence[dict[str, Any]], means: Means | None = None) -> None:
    """Draw the signal explained, the loss and the learning rate against the epoch, with those of held-out particles.

    Reports are faint, and means over epochs are drawn over them. Losses that are positive and span a decade are on a
    logarithmic scale. The least loss of the held-out particles, whose parameters are kept, is marked.

    Parameters
    ----------
    path : PNG to make.
    lines : reports of the run, with `epoch`, `loss`, `learning_rate` and perhaps `signal` and those of held-out
        particles, in order.
    means : epochs, and the means over them, of `loss` and `signal`; None without.
    """
    means, heights = means or {}, [3, 3, 1]
    explained = any("signal" in line for line in lines)
    heights = heights if explained else heights[1:]
    figure, axes = new_figure(5.2, 2.4 + 1.4 * len(heights) * (1 if explained else 0.5), rows=len(heights))
    axes[0, 0].get_gridspec().set_height_ratios(heights)
    loss, rate = axes[-2:, 0]
    for axis in axes[:-1, 0]:
        axis.sharex(rate)
        axis.tick_params(labelbottom=False)
    if explained:
        _draw_course(axes[0, 0], lines, means, "signal")
        axes[0, 0].set_ylabel("signal explained")
        axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    shown = _draw_course(loss, lines, means, "loss")
    if spans_a_decade(np.concatenate(shown)):
        loss.set_yscale("log")
    loss.set_ylabel("loss")
    _line(rate, lines, "learning_rate", DARK)
    rate.set_ylim(bottom=0)
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    figure.align_ylabels()
    save_figure(figure, path)


def _draw_course(axis: Axes, lines: Sequence[dict[str, Any]], of_epochs: Means, name: str) -> list[np.ndarray]:
    """Draw a value of the reports, its means over epochs and that of held-out particles; return all that is drawn."""
    epochs, means = of_epochs.get(name, (np.zeros(0), np.zeros(0)))
    _, reports = _line(axis, lines, name, PALETTE[0], "reports", alpha=FAINT if len(means) > 1 else 1.0)
    if len(means) > 1:
        axis.plot(epochs, means, color=PALETTE[0], label="means of epochs", linewidth=1.6, marker=".")
    held = [line for line in lines if f"test_{name}" in line]
    if not held:
        if len(means) > 1:
            axis.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK, loc="best")
        return [reports]
    at, tested = _line(axis, held, f"test_{name}", PALETTE[1], "held-out particles", marker=".")
    if name == "loss":
        _mark_least(axis, at, tested)
    axis.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK, loc="best")
    return [reports, tested]


def spans_a_decade(values: np.ndarray) -> bool:
    """Return whether the finite values are all positive and the largest is ten times the least, or more."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() >= DECADE * finite.min())


def _line(
    axis: Axes,
    lines: Sequence[dict[str, Any]],
    name: str,
    colour: str,
    label: str = "",
    marker: str = "",
    alpha: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one value of the reports that have it; return epochs and values."""
    having = [line for line in lines if name in line]
    epochs, values = (np.array([line[key] for line in having], float) for key in ("epoch", name))
    marker = marker or ("." if len(having) == 1 else "")  # a line of one point cannot be seen
    axis.plot(epochs, values, color=colour, label=label, linewidth=1.2, marker=marker, alpha=alpha)
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
