"""A bar in a picture of real space that says how long it is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from libhetero.report.style import LEGEND

SCALE = 0.4  # of a picture, at most


def scale_length(width: float) -> float:
    """Return the round length, 1, 2 or 5 times a power of ten, that is at most 0.4 of a width in the same unit."""
    longest = SCALE * width
    decade = 10.0 ** np.floor(np.log10(longest))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= longest))


def draw_scale_bar(axis: Axes, pixels: int, pixel_size: float, colour: str = "white") -> None:
    """Draw a bar of a round length in the lower left corner of a picture, and write the length above it.

    Parameters
    ----------
    axis : with a square picture, its pixels the units, up and to the right.
    pixels : along each side of the picture.
    pixel_size : Å.
    colour : of the bar, "white" in a dark picture and "black" in a light one; what is about it has the other.
    """
    other = "black" if colour == "white" else "white"
    length = scale_length(pixels * pixel_size)
    ends, height = 0.06 * pixels + np.array([0, length / pixel_size]) - 0.5, 0.08 * pixels
    around = [withStroke(linewidth=4.5, foreground=other)]
    axis.plot(ends, [height, height], color=colour, linewidth=2.5, solid_capstyle="butt", path_effects=around)
    place, box = (float(ends.mean()), height + 0.06 * pixels), {"facecolor": other, "edgecolor": "none", "pad": 1.0}
    axis.annotate(f"{length:g} Å", place, fontsize=LEGEND, color=colour, ha="center", va="bottom", bbox=box)
