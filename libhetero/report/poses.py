"""How far poses were moved, and how well they are known."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float

from libhetero.report.style import DARK, GREY, LEGEND, PALETTE, new_figure, save_figure

BINS = 60
TAIL = 0.002  # of the particles, at each end, that lie outside the figure's range


def draw_poses(
    path: str | os.PathLike,
    turn: Float[np.ndarray, "particles 3"],
    shift: Float[np.ndarray, "particles 2"],
    turn_deviation: Float[np.ndarray, "particles 3"],
    shift_deviation: Float[np.ndarray, "particles 2"],
) -> None:
    """Draw histograms of the turn about each axis of the image and of the shift along each.

    The dashed lines are at the median standard deviation to both sides of 0: what lies well outside of them was moved
    by more than the image leaves open.

    Parameters
    ----------
    path : PNG to make.
    turn : about the axes of the image, radians.
    shift : along them, Å.
    turn_deviation, shift_deviation : standard deviations.
    """
    figure, axes = new_figure(7.2, 3.0, columns=2)
    for one, values, deviation, names, label in (
        (axes[0, 0], np.degrees(turn), np.degrees(turn_deviation), "xyz", "turn, degrees"),
        (axes[0, 1], np.asarray(shift), np.asarray(shift_deviation), "xy", "shift, Å"),
    ):
        low, high = np.quantile(values, [TAIL, 1 - TAIL])
        reach = max(-low, high, 1e-3)
        edges = np.linspace(-reach, reach, BINS + 1)
        for number, name in enumerate(names):
            kind = ("about" if len(names) == 3 else "along") + f" {name}"
            shown = np.clip(values[:, number], -reach, reach)
            one.hist(shown, edges, histtype="step", color=PALETTE[number], label=kind)
        for side in (-1, 1):
            one.axvline(side * float(np.median(deviation)), color=GREY, linewidth=0.8, linestyle="--")
        one.set_xlabel(label)
        one.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK)
    axes[0, 0].set_ylabel("particles")
    save_figure(figure, path)
