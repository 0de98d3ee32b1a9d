"""Where regions lie in the molecule: three views along the axes."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float, Int

from libhetero.report.embedding import region_name
from libhetero.report.style import DARK, colour_of, marker_size, new_figure, save_figure

VIEWS = ((0, 1, "x", "y"), (0, 2, "x", "z"), (1, 2, "y", "z"))


def draw_regions_in_space(
    path: str | os.PathLike, position: Float[np.ndarray, "gaussians 3"], region: Int[np.ndarray, "gaussians"]
) -> None:
    """Draw the Gaussians in three orthogonal projections, coloured by region.

    Parameters
    ----------
    path : PNG to make.
    position : Å.
    region : 1, 2, … ; 0 constant, -1 unassigned; drawn from the constant core outwards.
    """
    figure, axes = new_figure(12.5, 4.2, columns=3)
    size = 2.5 * marker_size(len(position))
    extent = 1.05 * float(np.abs(position).max(initial=1.0))
    for view, (first, second, across, up) in zip(axes[0], VIEWS, strict=True):
        for one in np.unique(region):
            inside = region == one
            text = f"{region_name(one)} ({inside.sum()})"
            view.scatter(
                position[inside, first],
                position[inside, second],
                s=size,
                linewidths=0,
                color=colour_of(int(one)),
                alpha=0.35 if one <= 0 else 0.8,
                label=text,
            )
        view.set_aspect("equal")
        view.set_xlim(-extent, extent)
        view.set_ylim(-extent, extent)
        view.set_xlabel(f"{across} (Å)")
        view.set_ylabel(f"{up} (Å)")
    axes[0, 2].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelcolor=DARK)
    save_figure(figure, path)
