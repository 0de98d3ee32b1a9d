"""How DBSCAN's eps was chosen: the distance within which two Gaussians of the plane are neighbours."""

from __future__ import annotations

import os
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from libhetero.report.style import DARK, GREY, LEGEND, PALETTE, SMALL, new_figure, save_figure, title


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
    figure, axes = new_figure(4.8, 4.8, rows=2)
    upper, lower = axes[:, 0]
    scanned = chosen is not None and np.isclose(scan.eps, chosen).any()
    after = "regions after merging, splitting, sorting" if chosen is None or scanned else "clusters, taken as they are"
    for number, colour, mark, text in (
        (scan.clusters, GREY, ".-", "clusters that DBSCAN finds"),
        (scan.groups, PALETTE[0], "x-", after),
    ):
        upper.semilogx(scan.eps, number, mark, color=colour, drawstyle="steps-mid", linewidth=1, label=text)
    upper.set_ylabel("number")
    upper.yaxis.set_major_locator(MaxNLocator(integer=True))
    upper.set_ylim(0, 1.45 * max(1, int(scan.clusters.max()), int(scan.groups.max())))
    lower.semilogx(
        scan.eps, scan.score, ".-", color=PALETTE[1], linewidth=1, label="silhouette, 0 for those in no region (1 best)"
    )
    lower.semilogx(scan.eps, scan.noise, "x-", color=GREY, linewidth=1, label="part in no region (constant ones too)")
    lower.set_ylim(-0.05, 1.55)
    lower.set_yticks(np.linspace(0, 1, 6))
    lower.set_xlabel("eps: largest distance of neighbours in the plane")
    for one in (upper, lower):
        one.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK, loc="upper right")
        one.xaxis.set_major_formatter("{x:g}")
        one.xaxis.set_minor_formatter("{x:g}")
        one.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        one.tick_params(which="minor", labelsize=SMALL, colors=DARK)
        if chosen is not None:
            one.axvline(chosen, color=DARK, linewidth=0.8, linestyle="--")
    if chosen is not None:
        title(upper, _said(scan, chosen))
        _shade(upper, scan, chosen)
    lower.set_xlim(upper.get_xlim())
    save_figure(figure, path)


def _said(scan: EpsTrials, chosen: float) -> str:
    """Return in two lines what the text says of the eps used."""
    if not np.isclose(scan.eps, chosen).any():
        return f"eps {chosen:.3g}, as given (dashed)"
    trial = int(np.argmin(np.abs(scan.eps - chosen)))
    agreeing = np.flatnonzero(scan.groups == scan.groups[trial])
    return (
        f"eps {chosen:.3g} (dashed): {scan.clusters[trial]} cluster(s), {scan.groups[trial]} region(s),\n"
        f"as many as at {len(agreeing)} of {len(scan.eps)} eps tried (shaded)"
    )


def _shade(axes: Axes, scan: EpsTrials, chosen: float) -> None:
    """Shade every eps that gives as many regions as the one used."""
    if not np.isclose(scan.eps, chosen).any():
        return
    trial = int(np.argmin(np.abs(scan.eps - chosen)))
    half = np.sqrt(scan.eps[1] / scan.eps[0])
    for eps in scan.eps[scan.groups == scan.groups[trial]]:
        axes.axvspan(eps / half, eps * half, color=PALETTE[0], alpha=0.1, linewidth=0, zorder=0)
