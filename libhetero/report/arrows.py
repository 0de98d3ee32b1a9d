"""Arrows in space as a .bild file, which ChimeraX opens beside maps and atoms."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb

from libhetero.files import replacing
from libhetero.report.style import colour_of

Arrows = tuple[Float[np.ndarray, "arrows 3"], Float[np.ndarray, "arrows 3"]]
THICK = 0.4  # Å, radius of a shaft; the head is three times as wide
SHORTEST = 0.2  # Å: shorter ones are left out


def write_arrows(path: str | os.PathLike, arrows: Mapping[int, Arrows], origin: float) -> None:
    """Write arrows of each region in its colour.

    Parameters
    ----------
    path : .bild to make.
    arrows : beginnings and ends by region, Å from the box centre.
    origin : Å from the first voxel of a map to its centre, where viewers have the coordinate 0.
    """
    lines = [".comment arrows of the main motion of each region, two standard deviations to either side"]
    for region, (begin, end) in arrows.items():
        lines.append(".color " + " ".join(f"{part:.3f}" for part in to_rgb(colour_of(region))))
        for first, last in zip(begin + origin, end + origin, strict=True):
            if np.linalg.norm(last - first) >= SHORTEST:
                ends = " ".join(f"{value:.3f}" for value in (*first, *last))
                lines.append(f".arrow {ends} {THICK} {3 * THICK} 0.75")
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))
