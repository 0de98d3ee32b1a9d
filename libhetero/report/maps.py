"""Volumes at a glance: a projection and a central slice along each axis."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from libhetero.report.style import DARK, new_figure, save_figure

MOST = 8


def draw_maps(path: str | os.PathLike, volumes: Sequence[Float[np.ndarray, "n n n"]], names: Sequence[str]) -> None:
    """Draw at most eight volumes, a row each: projections along z, y, x, then central slices.

    Grey levels are the same for all volumes, so that they can be compared.

    Parameters
    ----------
    path : PNG to make.
    volumes : (z, y, x).
    names : one for each.
    """
    shown = [int(place) for place in np.linspace(0, len(volumes) - 1, min(len(volumes), MOST))]
    figure, axes = new_figure(9.0, 1.62 * len(shown) + 0.2, len(shown), 6)
    projections = [[volumes[place].sum(axis=axis) for axis in range(3)] for place in shown]
    slices = [[_middle(volumes[place], axis) for axis in range(3)] for place in shown]
    levels = [_levels(group) for group in (projections, slices)]
    for row, place in enumerate(shown):
        panels = projections[row] + slices[row]
        for column, (axis, image) in enumerate(zip(axes[row], panels, strict=True)):
            low, high = levels[column // 3]
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if row == 0:
                kind = "projection" if column < 3 else "slice"
                axis.set_title(f"{kind} {'zyx'[column % 3]}", fontsize=8, color=DARK)
        axes[row, 0].set_ylabel(names[place], fontsize=8, color=DARK)
    save_figure(figure, path)


def _middle(volume: np.ndarray, axis: int) -> np.ndarray:
    return np.take(volume, volume.shape[axis] // 2, axis=axis)


def _levels(images: list[list[np.ndarray]]) -> tuple[float, float]:
    values = np.concatenate([image.ravel() for row in images for image in row])
    low, high = np.percentile(values, [1, 99.9])
    return float(low), float(max(high, low + 1e-12))
