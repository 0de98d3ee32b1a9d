"""How sure a model is of each particle."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float

from libhetero.report.style import DARK, GREY, LEGEND, PALETTE, new_figure, save_figure

BINS = 60
TAIL = 0.002  # of the particles, at each end, that lie outside the figure's range


def draw_evidence(
    path: str | os.PathLike,
    evidence: Float[np.ndarray, "particles"],
    junk: Float[np.ndarray, "particles"],
    contrast: Float[np.ndarray, "particles"],
) -> None:
    """Draw histograms of the evidence and of the contrast of particles, those that look like junk apart.

    Parameters
    ----------
    path : PNG to make.
    evidence : log p(image | model) - log p(image | noise alone), nats.
    junk : probability of showing nothing; above ½ a particle is drawn as junk.
    contrast : relative to the set.
    """
    figure, axes = new_figure(7.2, 3.0, columns=2)
    is_junk = junk > 0.5
    for one, values, label in (
        (axes[0, 0], evidence, "log-likelihood ratio, molecule to noise alone"),
        (axes[0, 1], contrast, "contrast of the particle"),
    ):
        values = np.nan_to_num(values)
        low, high = np.quantile(values, [TAIL, 1 - TAIL])
        edges = np.linspace(low, max(high, low + 1e-3), BINS + 1)
        shown = np.clip(values, edges[0], edges[-1])
        groups, colours = [shown[~is_junk]], [PALETTE[0]]
        if is_junk.any():
            groups, colours = [*groups, shown[is_junk]], [*colours, PALETTE[1]]
        one.hist(groups, edges, stacked=True, color=colours, label=["particles", "look like junk"][: len(groups)])
        one.axvline(0, color=GREY, linewidth=0.8)
        one.set_xlabel(label)
    axes[0, 0].set_ylabel("particles")
    if is_junk.any():
        handles, names = axes[0, 0].get_legend_handles_labels()
        look = {"fontsize": LEGEND, "frameon": False, "labelcolor": DARK}
        figure.legend(handles, names, loc="outside upper right", ncols=2, **look)
    save_figure(figure, path)
