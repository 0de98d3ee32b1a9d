"""Clouds of points in a plane: particles by their latent, Gaussians by how they change."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from libhetero.report.style import DARK, colour_of, marker_size, new_figure, save_figure

CROWD = 20_000


def draw_particles(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "particles 2"],
    label: Int[np.ndarray, "particles"] | None = None,
    title: str = "particles",
    axis: str = "UMAP",
) -> None:
    """Draw particles in a plane by class; above 20,000 without classes, their density.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates.
    label : class of each particle, from 0; -1 for none.
    title : above the figure.
    axis : what the axes are, "UMAP" or "PC".
    """
    figure, ((axes,),) = new_figure(5.2, 4.8)
    if label is None and len(plane) > CROWD:
        drawn = axes.hexbin(*plane.T, gridsize=120, bins="log", cmap="viridis", linewidths=0.1)
        figure.colorbar(drawn, ax=axes, label="particles", shrink=0.7)
    elif label is None:
        size = marker_size(len(plane))
        axes.scatter(*plane.T, s=size, color=colour_of(1), alpha=0.5, linewidths=0)
    else:
        scatter_groups(axes, plane, np.asarray(label) + 1, lambda group: f"class {group - 1}")
    _name_axes(axes, axis, f"{title} ({len(plane)})")
    save_figure(figure, path)


def draw_gaussians(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "gaussians 2"],
    region: Int[np.ndarray, "gaussians"],
    axis: str = "UMAP",
) -> None:
    """Draw Gaussians by how they change over the particles, coloured by region.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates; rows of NaN (the constant core) are left out and counted in the title.
    region : 1, 2, … ; 0 constant, -1 unassigned.
    axis : what the axes are, "UMAP" or "PC".
    """
    shown = np.isfinite(plane).all(axis=1)
    figure, ((axes,),) = new_figure(5.2, 4.8)
    scatter_groups(axes, plane[shown], region[shown], region_name)
    left_out = f", {np.sum(~shown)} constant not shown" if (~shown).any() else ""
    _name_axes(axes, axis, f"Gaussians that change ({shown.sum()}{left_out})")
    save_figure(figure, path)


def region_name(region: int) -> str:
    """Return what a region is called in figures."""
    return {0: "constant", -1: "unassigned"}.get(int(region), f"region {int(region)}")


def scatter_groups(axes: Axes, plane: np.ndarray, group: np.ndarray, name) -> None:
    """Scatter points by group, with a legend that counts them."""
    size = marker_size(len(plane))
    for one in np.unique(group):
        inside = group == one
        text = f"{name(one)} ({inside.sum()})"
        axes.scatter(
            *plane[inside].T, s=size, color=colour_of(int(one)), alpha=0.7, linewidths=0, label=text
        )
    if len(plane):
        legend = axes.legend(
            fontsize=7, frameon=False, markerscale=max(1.0, np.sqrt(18 / size)),
            loc="upper left", bbox_to_anchor=(1.0, 1.0), labelcolor=DARK,
        )  # fmt: skip
        for handle in legend.legend_handles:
            handle.set_alpha(1.0)


def _name_axes(axes: Axes, axis: str, title: str) -> None:
    axes.set_xlabel(f"{axis} 1")
    axes.set_ylabel(f"{axis} 2")
    axes.set_title(title, fontsize=10, color=DARK, loc="left")
