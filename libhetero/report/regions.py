"""Where regions lie in the molecule: three views along the axes."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Int
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from libhetero.report.embedding import region_name
from libhetero.report.outline import VIEWS, Molecule, draw_outline, faded
from libhetero.report.style import DARK, GREY, LEGEND, colours_of, marker_size, new_figure, save_figure


def draw_regions_in_space(path: str | os.PathLike, molecule: Molecule, region: Int[np.ndarray, "gaussians"]) -> None:
    """Draw the Gaussians of regions over the outline of the map, in three views; what lies deeper is paler.

    Parameters
    ----------
    path : PNG to make.
    molecule : all Gaussians.
    region : 1, 2, … ; 0 constant, -1 in no region.
    """
    figure, axes = new_figure(10.8, 3.6, columns=3)
    size, found = 2.5 * marker_size(len(region)), np.unique(region)
    for axis, view in zip(axes[0], VIEWS, strict=True):
        draw_outline(axis, molecule, view)
        near = molecule.nearness(view)
        x, y = molecule.position[:, view.across], molecule.position[:, view.up]
        core = region == 0
        axis.scatter(x[core], y[core], s=0.4 * size, color=GREY, alpha=0.4, linewidths=0, zorder=2)
        rings = region == -1
        axis.scatter(x[rings], y[rings], s=0.6 * size, facecolors="none", edgecolors=DARK, linewidths=0.5, zorder=2)
        colour = np.zeros((len(region), 3))
        for one, plain in zip(found, colours_of(found), strict=True):
            colour[region == one] = faded(to_hex(plain), near[region == one])
        order = np.argsort(near, kind="stable")
        order = order[region[order] > 0]
        axis.scatter(x[order], y[order], s=size, c=colour[order], linewidths=0, zorder=3)
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=6 if one > 0 else 4,
            color=colour if one >= 0 else DARK,
            fillstyle="full" if one >= 0 else "none",
            label=f"{region_name(one)} ({np.sum(region == one)})",
        )
        for one, colour in zip(found, colours_of(found), strict=True)
    ]
    handles.append(Line2D([], [], color=DARK, linewidth=0.9, label="outline of the map"))
    axes[0, 2].legend(
        handles=handles, fontsize=LEGEND, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelcolor=DARK
    )
    figure.supxlabel("the farther from the viewer, the paler", fontsize=LEGEND, color=DARK)
    save_figure(figure, path)
