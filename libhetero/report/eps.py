"""How DBSCAN's eps was chosen."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import LogLocator

from libhetero.report.style import DARK, GREY, PALETTE, new_figure, save_figure


def draw_eps(
    path: str | os.PathLike,
    eps: Float[np.ndarray, "trials"],
    clusters: Int[np.ndarray, "trials"],
    noise: Float[np.ndarray, "trials"],
    score: Float[np.ndarray, "trials"],
    chosen: float | None,
) -> None:
    """Draw the number of regions, the fraction in none and the silhouette against eps.

    Parameters
    ----------
    path : PNG to make.
    eps, clusters, noise, score : of every trial.
    chosen : the eps used; None draws no line.
    """
    figure, axes = new_figure(5.5, 5.0, rows=2)
    upper, lower = axes[:, 0]
    upper.semilogx(eps, clusters, ".-", color=PALETTE[0], drawstyle="steps-mid", linewidth=1)
    upper.set_ylabel("regions")
    lower.semilogx(eps, score, ".-", color=PALETTE[1], linewidth=1, label="silhouette")
    lower.semilogx(eps, noise, ".-", color=GREY, linewidth=1, label="fraction in no region")
    lower.set_ylim(-0.05, 1.05)
    lower.set_xlabel("eps")
    lower.legend(fontsize=8, frameon=False, labelcolor=DARK)
    for one in (upper, lower):
        one.xaxis.set_major_formatter("{x:g}")
        one.xaxis.set_minor_formatter("{x:g}")
        one.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        if chosen is not None:
            one.axvline(chosen, color=DARK, linewidth=0.8, linestyle="--")
    if chosen is not None:
        upper.set_title(f"eps {chosen:.3g}", fontsize=10, color=DARK, loc="left")
    save_figure(figure, path)
