"""How DBSCAN's eps was chosen."""

from __future__ import annotations

import os
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import LogLocator

from libhetero.report.style import DARK, GREY, PALETTE, new_figure, save_figure


@runtime_checkable
class EpsTrials(Protocol):
    """DBSCAN at a row of eps."""

    @property
    def eps(self) -> Float[np.ndarray, "trials"]:
        """The radii, rising."""

    @property
    def clusters(self) -> Int[np.ndarray, "trials"]:
        """How many clusters DBSCAN finds."""

    @property
    def groups(self) -> Int[np.ndarray, "trials"]:
        """How many are left after the refinement."""

    @property
    def noise(self) -> Float[np.ndarray, "trials"]:
        """Fraction of points in none."""

    @property
    def score(self) -> Float[np.ndarray, "trials"]:
        """Mean silhouette of the groups."""


def draw_eps(path: str | os.PathLike, scan: EpsTrials, chosen: float | None) -> None:
    """Draw the number of clusters and regions, the fraction in none and the silhouette against eps.

    Parameters
    ----------
    path : PNG to make.
    scan : every trial.
    chosen : the eps used; None draws no line.
    """
    figure, axes = new_figure(5.5, 5.0, rows=2)
    upper, lower = axes[:, 0]
    for number, colour, text in (
        (scan.clusters, GREY, "DBSCAN's clusters"),
        (scan.groups, PALETTE[0], "regions after refinement"),
    ):
        upper.semilogx(scan.eps, number, ".-", color=colour, drawstyle="steps-mid", linewidth=1, label=text)
    upper.set_ylabel("number")
    upper.set_ylim(bottom=0)
    upper.legend(fontsize=8, frameon=False, labelcolor=DARK, loc="upper right")
    lower.semilogx(scan.eps, scan.score, ".-", color=PALETTE[1], linewidth=1, label="silhouette")
    lower.semilogx(scan.eps, scan.noise, ".-", color=GREY, linewidth=1, label="fraction in no region")
    lower.set_ylim(-0.05, 1.05)
    lower.set_xlabel("eps")
    lower.legend(fontsize=8, frameon=False, labelcolor=DARK, loc="upper right")
    for one in (upper, lower):
        one.xaxis.set_major_formatter("{x:g}")
        one.xaxis.set_minor_formatter("{x:g}")
        one.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        if chosen is not None:
            one.axvline(chosen, color=DARK, linewidth=0.8, linestyle="--")
    if chosen is not None:
        upper.set_title(f"eps {chosen:.3g}", fontsize=10, color=DARK, loc="left")
    save_figure(figure, path)
