"""The course of a training run as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_training(path: Path, lines: list[dict[str, Any]]) -> None:
    """Draw loss and learning rate against the epoch.

    Parameters
    ----------
    path : PNG to make.
    lines : reports of the run, with `epoch`, `loss`, `learning_rate` and perhaps `test_loss`, in order.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [line["epoch"] for line in lines]
    axes.plot(epochs, [line["loss"] for line in lines], color="tab:blue")
    tested = [line for line in lines if "test_loss" in line]
    if tested:
        axes.plot(
            [line["epoch"] for line in tested], [line["test_loss"] for line in tested],
            color="tab:orange", marker=".", label="held-out particles",
        )  # fmt: skip
        axes.legend(frameon=False)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss", color="tab:blue")
    rate = axes.twinx()
    rate.plot(epochs, [line["learning_rate"] for line in lines], color="tab:gray", linewidth=0.8)
    rate.set_ylabel("learning rate", color="tab:gray")
    rate.set_ylim(bottom=0)
    canvas.print_png(str(path))
