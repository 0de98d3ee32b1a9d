"""Figures of a validation: regions beside null sets, latents of two half-sets, and what coordinates follow."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from libhetero.report.style import DARK, GREY, LEGEND, PALETTE, colour_bar, colour_of, new_figure, save_figure

HALF = 0.5  # of the colour bar, from which on colours are dark


def draw_nulls(path: str | os.PathLike, null: Sequence[float], regions: dict[int, float], quantity: str) -> None:
    """Draw the change of each region beside the largest change of each null set.

    Parameters
    ----------
    path : PNG to make.
    null : of each set; 0 where it has no region.
    regions : change by number.
    quantity : what the change is of, for the axis.
    """
    figure, axes = new_figure(5.6, 3.0)
    axis = axes[0, 0]
    top = max([*null, *regions.values(), 1e-6])
    axis.hist(list(null), bins=np.linspace(0, 1.05 * top, 40), color=GREY, label=f"largest of {len(null)} null sets")
    for region, change in regions.items():
        axis.axvline(change, color=colour_of(region), linewidth=1.6, label=f"region {region}")
    axis.set_xlabel(f"change of {quantity}")
    axis.set_ylabel("null sets")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path)


def draw_canonical(path: str | os.PathLike, correlations: Sequence[float]) -> None:
    """Draw the canonical correlations of the latents of two half-sets, the best first.

    Parameters
    ----------
    path : PNG to make.
    correlations : held out.
    """
    figure, axes = new_figure(4.6, 2.8)
    axis = axes[0, 0]
    axis.bar(1 + np.arange(len(correlations)), list(correlations), color=PALETTE[0], width=0.7)
    axis.axhline(0, color=DARK, linewidth=0.7)
    axis.set_ylim(min(-0.05, *correlations), 1.02)
    axis.set_xticks(1 + np.arange(len(correlations)))
    axis.set_xlabel("pair of directions in the latents of the half-sets")
    axis.set_ylabel("canonical correlation")
    save_figure(figure, path)


def draw_following(
    path: str | os.PathLike,
    properties: Sequence[str],
    coordinates: Sequence[str],
    share: Float[np.ndarray, "properties coordinates"],
    material: np.ndarray,
) -> None:
    """Draw R² of each coordinate by each property of the imaging; what is material is written.

    Parameters
    ----------
    path : PNG to make.
    properties, coordinates : names of rows and columns.
    share : R².
    material : (properties, coordinates), True where a coordinate follows.
    """
    figure, axes = new_figure(3.0 + 0.5 * len(coordinates), 1.8 + 0.34 * len(properties))
    axis = axes[0, 0]
    drawn = axis.imshow(np.clip(share, 0, 1), vmin=0, vmax=max(0.2, float(share.max())), cmap="Blues", aspect="auto")
    axis.set_xticks(range(len(coordinates)), list(coordinates), rotation=60, ha="right")
    axis.set_yticks(range(len(properties)), list(properties))
    for row, column in zip(*np.nonzero(material), strict=True):
        dark = drawn.norm(share[row, column]) > HALF
        colour = "white" if dark else DARK
        text = f"{share[row, column]:.2f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=LEGEND, weight="bold", color=colour)
    colour_bar(axis, drawn, "R²")
    save_figure(figure, path)
