"""One region at a glance: its particles, how much of it they have, and what its Gaussians do."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.quiver import Quiver

from libhetero.report.embedding import scatter_groups
from libhetero.report.presence import stacked_histogram
from libhetero.report.style import DARK, GREY, colour_of, marker_size, new_figure, save_figure

MOST_ARROWS = 250
STILL = 0.1  # Å; smaller differences between classes are no motion worth an arrow


def draw_region(
    path: str | os.PathLike,
    title: str,
    coordinates: Float[np.ndarray, "particles columns"],
    label: Int[np.ndarray, "particles"],
    value: Float[np.ndarray, "particles"],
    quantity: str,
    position: Float[np.ndarray, "gaussians 3"],
    member: Bool[np.ndarray, "gaussians"],
    moved: Float[np.ndarray, "gaussians 3"],
    gained: Float[np.ndarray, "gaussians"],
) -> None:
    """Draw particles by class, the histogram of their first coordinate's meaning, and the Gaussians.

    Parameters
    ----------
    path : PNG to make.
    title : of the figure.
    coordinates : of particles by this region's outputs, two columns shown.
    label : class of each particle, -1 for none.
    value : one telling number a particle.
    quantity : what that number is.
    position : Å, of all Gaussians.
    member : which belong to the region.
    moved : Å, from the first class to the last.
    gained : relative amplitude, from the first class to the last.
    """
    figure, ((cloud, amount, space),) = new_figure(13.5, 4.2, columns=3)
    plane = np.pad(coordinates[:, :2], ((0, 0), (0, max(0, 2 - coordinates.shape[1]))))
    scatter_groups(cloud, plane, np.asarray(label) + 1, lambda group: f"class {group - 1}")
    cloud.set_xlabel("PC 1")
    cloud.set_ylabel("PC 2")
    cloud.set_title(title, fontsize=10, color=DARK, loc="left")
    found = np.unique(label)
    stacked_histogram(amount, value, label, [colour_of(int(one) + 1) for one in found])
    amount.set_xlabel(quantity)
    amount.set_ylabel("particles")
    _draw_change(space, position, member, moved, gained)
    save_figure(figure, path)


def _draw_change(axes: Axes, position: np.ndarray, member: np.ndarray, moved: np.ndarray, gained: np.ndarray) -> None:
    """Draw the Gaussians across their widest plane; members as arrows, or by gained amplitude."""
    across, up, names = _widest_plane(position)
    size = 2 * marker_size(len(position))
    axes.scatter(position[~member, across], position[~member, up], s=size, color=GREY, alpha=0.3, linewidths=0)
    inside = np.flatnonzero(member)
    length = np.linalg.norm(moved[inside], axis=1)
    if np.percentile(length, 90) > STILL and np.percentile(length, 90) > np.abs(gained[inside]).max():
        inside = inside[:: max(1, len(inside) // MOST_ARROWS)]
        drawn: Quiver | PathCollection = axes.quiver(
            position[inside, across],
            position[inside, up],
            moved[inside, across],
            moved[inside, up],
            np.linalg.norm(moved[inside], axis=1),
            angles="xy",
            cmap="viridis",
            width=0.005,
        )
        text = "Å from first to last class"
    else:
        most = max(float(np.abs(gained[inside]).max(initial=0)), 1e-6)
        drawn = axes.scatter(
            position[inside, across],
            position[inside, up],
            c=gained[inside],
            s=2 * size,
            cmap="coolwarm",
            vmin=-most,
            vmax=most,
            linewidths=0,
        )
        text = "relative amplitude, last less first class"
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.set_label(text, fontsize=8, color=DARK)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{names[0]} (Å)")
    axes.set_ylabel(f"{names[1]} (Å)")


def _widest_plane(position: np.ndarray) -> tuple[int, int, str]:
    """Return the two axes along which Gaussians spread most, in order, and their names."""
    across, up = sorted(np.argsort(np.ptp(position, axis=0))[-2:])
    return int(across), int(up), "xyz"[across] + "xyz"[up]
