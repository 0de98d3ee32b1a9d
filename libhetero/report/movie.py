"""A series of volumes as a moving picture: the surface from one side, there and back without end."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.animation import PillowWriter

from libhetero.files import replacing
from libhetero.report.maps import SIDES, coloured, tint_of
from libhetero.report.style import DARK, LEGEND, new_figure
from libhetero.report.surfaces import cropped, refined, seen_along

VIEW = "y"
FRAMES = 12  # a second
DOTS = 100  # an inch


def draw_movie(
    path: str | os.PathLike, volumes: Sequence[Float[np.ndarray, "n n n"]], names: Sequence[str], level: float
) -> None:
    """Draw a .gif of volumes that follow one another, each coloured by how much denser than their mean it is.

    Level, crop and colours are those of all of them.

    Parameters
    ----------
    path : .gif to make.
    volumes : (z, y, x), in order.
    names : of the volumes.
    level : of the surfaces.
    """
    (first, *_), (side, *_) = cropped(volumes, level)
    inside = slice(int(first), int(first + side))
    parts = [np.asarray(volume[inside, inside, inside], np.float32) for volume in volumes]
    total = np.zeros(parts[0].shape)
    for part in parts:  # one by one: a copy of all would take as much memory again
        total += part
    middle = refined((total / len(parts)).astype(np.float32))
    figure, axes = new_figure(4.0, 4.4, 1, 1)
    axis = np.ravel(axes)[0]
    pictures = []
    for part in parts:
        surface = seen_along(refined(part), level, VIEW)
        pictures.append(coloured(surface, tint_of(middle, surface, VIEW, level)))
    shown = axis.imshow(pictures[0], origin="lower", interpolation="bilinear")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.set_xlabel("orange: denser than the mean, blue: less", fontsize=LEGEND, color=DARK)
    order = [*range(len(names)), *range(len(names) - 2, 0, -1)]
    writer = PillowWriter(fps=FRAMES)
    with replacing(path) as beside, writer.saving(figure, beside, DOTS):
        for place in order:
            shown.set_data(pictures[place])
            axis.set_title(f"{names[place]}, {SIDES[VIEW]}", fontsize=LEGEND, color=DARK)
            writer.grab_frame()
