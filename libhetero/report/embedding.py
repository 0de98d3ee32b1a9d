"""Clouds of points in a plane: particles by their latent, Gaussians by how they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from libhetero.report.style import (
    DARK,
    GREY,
    LEGEND,
    MANY,
    axis_names,
    class_colours,
    class_name,
    colour_bar,
    colours_of,
    marker_size,
    new_figure,
    save_figure,
    title,
)

CROWD = 20_000
BINS = 96  # of the density, along each axis
MOST_NAMES, MOST_NUMBERS = 13, 60


@dataclass(frozen=True, eq=False)
class Labelling:
    """A colour for every particle.

    Parameters
    ----------
    title : what the labels are, "class".
    label : from 0; -1 for none, drawn grey.
    medoids : a particle that stands for each label and bears its number; None for no numbers.
    """

    title: str
    label: Int[np.ndarray, "particles"]
    medoids: Mapping[int, int] | None = None

    def name(self, label: int | np.integer) -> str:
        """Return what a label is called in the legend."""
        return class_name(label) if self.title == "class" else "none" if label < 0 else f"{int(label)}"


def draw_particles(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "particles 2"],
    labellings: Sequence[Labelling] = (),
    names: tuple[str, str] | None = None,
) -> None:
    """Draw particles in a plane, a panel each: by their density, then by each labelling.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates.
    labellings : ways to colour them.
    names : of the axes, from `axis_names`; None for those of UMAP.
    """
    panels = 1 + len(labellings)
    figure, (row,) = new_figure(4.6 * panels, 3.9, columns=panels)
    _draw_density(row[0], plane)
    _name_axes(row[0], names, f"density of {len(plane)} particles")
    for axes, labelling in zip(row[1:], labellings, strict=True):
        _draw_labels(axes, plane, labelling)
        count = len(np.unique(labelling.label[labelling.label >= 0]))
        _name_axes(axes, names, f"by {labelling.title} ({count})")
    save_figure(figure, path)


def draw_places(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "particles 2"],
    places: Float[np.ndarray, "places 2"],
    labels: Sequence[str],
    joined: bool = False,
    names: tuple[str, str] | None = None,
) -> None:
    """Draw where some points lie among all particles.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates of all particles, drawn grey.
    places : coordinates of the points.
    labels : short, written beside them while there are at most 60.
    joined : connect them by a line, in order.
    names : of the axes, from `axis_names`; None for those of UMAP.
    """
    figure, ((axes,),) = new_figure(4.6, 3.9)
    size, image = marker_size(len(plane)), len(plane) > MANY
    axes.scatter(plane[:, 0], plane[:, 1], s=size, color=GREY, alpha=0.5, linewidths=0, rasterized=image)
    if joined:
        axes.plot(*places.T, color=DARK, linewidth=0.9)
    order = np.arange(len(places))
    axes.scatter(places[:, 0], places[:, 1], s=26, c=order, cmap="plasma", edgecolors="white", linewidths=0.6, zorder=3)
    if len(places) <= MOST_NUMBERS:
        _write_numbers(axes, places, labels, offset=4)
    _name_axes(axes, names, f"{len(places)} volumes among {len(plane)} particles")
    save_figure(figure, path)


def _draw_density(axes: Axes, plane: np.ndarray) -> None:
    """Draw points coloured by how many lie around them; above 20,000, hexagons that count them."""
    if len(plane) > CROWD:
        drawn = axes.hexbin(*plane.T, gridsize=120, bins="log", cmap="viridis", linewidths=0.1)
        colour_bar(axes, drawn, "particles in a hexagon")
        return
    density = _local_density(plane)
    density /= density.max()
    order = density.argsort(kind="stable")
    x, y = plane[order].T
    size = marker_size(len(plane))
    cloud = axes.scatter(x, y, c=density[order], s=size, cmap="viridis", linewidths=0, rasterized=len(plane) > MANY)
    colour_bar(axes, cloud, "density, relative to the highest")


def _local_density(plane: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points"]:
    """Return how dense points lie around each: a smoothed histogram of the plane, relative."""
    low, width = plane.min(axis=0), np.maximum(np.ptp(plane, axis=0), 1e-12)
    column, row = np.minimum((BINS * (plane - low) / width).astype(int), BINS - 1).T
    counts = np.zeros((BINS, BINS))
    np.add.at(counts, (row, column), 1)
    kernel = np.exp(-0.5 * np.arange(-6, 7) ** 2 / 2.0**2)
    for axis in (0, 1):
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, mode="same")
    return counts[row, column]


def _draw_labels(axes: Axes, plane: np.ndarray, labelling: Labelling) -> None:
    """Draw points in the colour of their label, mixed, so that no label hides another."""
    label = np.asarray(labelling.label)
    order = np.random.default_rng(0).permutation(len(plane))
    order = np.concatenate([order[label[order] < 0], order[label[order] >= 0]])
    size = marker_size(len(plane))
    x, y = plane[order].T
    colours = class_colours(label)[order]
    axes.scatter(x, y, s=size, c=colours, alpha=0.7, linewidths=0, rasterized=len(plane) > MANY)
    found, counts = np.unique(label, return_counts=True)
    if len(found) <= MOST_NAMES:
        handles = [
            Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=f"{name} ({count})")
            for name, count, colour in zip(map(labelling.name, found), counts, class_colours(found), strict=True)
        ]
        _place_legend(axes, handles=handles)
    if labelling.medoids and len(labelling.medoids) <= MOST_NUMBERS:
        members = plane[list(labelling.medoids.values())]
        _write_numbers(axes, members, [str(one) for one in labelling.medoids])


def _write_numbers(axes: Axes, places: np.ndarray, names: Sequence[str], offset: float = 0) -> None:
    for place, name in zip(places, names, strict=True):
        axes.annotate(
            name,
            place,
            xytext=(offset, offset),
            textcoords="offset points",
            fontsize=LEGEND,
            color=DARK,
            weight="bold",
            ha="left" if offset else "center",
            va="bottom" if offset else "center",
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def draw_gaussians(
    path: str | os.PathLike,
    plane: Float[np.ndarray, "gaussians 2"],
    region: Int[np.ndarray, "gaussians"],
    names: tuple[str, str] | None = None,
) -> None:
    """Draw Gaussians by how they change over the particles, coloured by region.

    The legend counts the Gaussians drawn; the title adds those that are not, so that both come to all Gaussians.

    Parameters
    ----------
    path : PNG to make.
    plane : coordinates; rows of NaN hardly change, are constant, and are left out.
    region : 1, 2, … ; 0 constant, -1 in no region.
    names : of the axes, from `axis_names`; None for those of UMAP.
    """
    shown = np.isfinite(plane).all(axis=1)
    figure, ((axes,),) = new_figure(5.2, 3.9)
    scatter_groups(axes, plane[shown], region[shown], region_name)
    left_out = f"\n(the other {np.sum(~shown)} hardly change and are constant)" if (~shown).any() else ""
    _name_axes(axes, names, f"{shown.sum()} of {len(shown)} Gaussians, by how they change{left_out}")
    save_figure(figure, path)


def region_name(region: int | np.integer) -> str:
    """Return what a region is called in figures."""
    return {0: "constant", -1: "in no region"}.get(int(region), f"region {int(region)}")


def scatter_groups(
    axes: Axes, plane: Float[np.ndarray, "points 2"], group: Int[np.ndarray, "points"], name: Callable[[Any], str]
) -> None:
    """Scatter points by group, with a legend that counts them: groups 1, 2, … in colour; 0 grey, -1 as rings."""
    size = marker_size(len(plane))
    found = np.unique(group)
    for one, colour in zip(found, colours_of(found), strict=True):
        inside = group == one
        x, y = plane[inside].T
        looks: dict[str, Any] = {"color": colour, "linewidths": 0}
        if one < 0:
            looks = {"facecolors": "none", "edgecolors": DARK, "linewidths": 0.6}
        text = f"{name(one)} ({inside.sum()})"
        axes.scatter(x, y, s=size, alpha=0.7, label=text, rasterized=len(plane) > MANY, **looks)
    if len(plane):
        legend = _place_legend(axes, markerscale=max(1.0, np.sqrt(18 / size)))
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1.0)


def _place_legend(axes: Axes, **options: Any) -> Legend:
    """Put the legend to the right of the axes."""
    return axes.legend(
        fontsize=LEGEND,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        labelcolor=DARK,
        handletextpad=0.3,
        **options,
    )


def _name_axes(axes: Axes, names: tuple[str, str] | None, text: str) -> None:
    across, up = names or axis_names("umap")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    title(axes, text)
