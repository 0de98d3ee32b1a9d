"""One region at a glance: its particles, how much of it they have, and what its Gaussians do."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes

from libhetero.report.embedding import scatter_groups
from libhetero.report.outline import Molecule, draw_outline
from libhetero.report.presence import draw_distribution
from libhetero.report.style import (
    DARK,
    GREY,
    LEGEND,
    MANY,
    SMALL,
    class_name,
    colour_bar,
    colour_of,
    marker_size,
    new_figure,
    save_figure,
    title,
)

MOST_ARROWS = 250
STILL = 0.1  # Å; smaller differences are no motion worth an arrow
LONGEST = 0.15  # of the width of the figure: what a long arrow should come to
LONG = 90  # percentile of the arrows
LEAST_HEIGHT = 0.02  # of a cloud, of its width, below which it is not stretched
ENDS = ("lowest fifth", "highest fifth")
END_COLOURS = ("#0072b2", "#d55e00")


@dataclass(frozen=True, eq=False)
class RegionView:
    """What is drawn of a region.

    Parameters
    ----------
    number : of the region, from 1.
    title : of the figure.
    coordinates : of particles by this region's outputs; at least one column.
    names : of the first two columns.
    label : class of each particle, -1 for none; of a continuum all the same.
    ends : of a continuum, 0 for the particles of the low end, 1 for those of the high end, -1 between; else None.
    value : one telling number a particle.
    quantity : what that number is.
    member : which Gaussians belong to the region.
    moved : Å, from the first class, or the low end, to the last, or the high end.
    gained : relative amplitude, likewise.
    """

    number: int
    title: str
    coordinates: Float[np.ndarray, "particles columns"]
    names: tuple[str, str]
    label: Int[np.ndarray, "particles"]
    ends: Int[np.ndarray, "particles"] | None
    value: Float[np.ndarray, "particles"]
    quantity: str
    member: Bool[np.ndarray, "gaussians"]
    moved: Float[np.ndarray, "gaussians 3"]
    gained: Float[np.ndarray, "gaussians"]

    @property
    def plane(self) -> Float[np.ndarray, "particles 2"]:
        """The first two coordinates; the second is 0 where there is one."""
        return np.pad(self.coordinates[:, :2], ((0, 0), (0, max(0, 2 - self.coordinates.shape[1]))))

    @property
    def compared(self) -> str:
        """What the Gaussians are compared of."""
        return "last less first class" if self.ends is None else "highest less lowest fifth"


def draw_region(path: str | os.PathLike, shown: RegionView, molecule: Molecule) -> None:
    """Draw particles by class, the distribution of what is told of them, and the Gaussians.

    A continuum has no classes: its particles are of one colour, but for the two ends whose means the last panel
    compares.

    Parameters
    ----------
    path : PNG to make.
    shown : the region.
    molecule : all Gaussians.
    """
    figure, ((cloud, amount, space),) = new_figure(12.0, 3.8, columns=3)
    if shown.ends is None:
        scatter_groups(cloud, shown.plane, np.asarray(shown.label) + 1, lambda group: class_name(group - 1))
    else:
        _draw_continuum(cloud, shown)
    across, up = np.ptp(shown.plane, axis=0)
    if up < LEAST_HEIGHT * across:  # a second coordinate that is next to nothing looks like it
        cloud.set_ylim(*(shown.plane[:, 1].mean() + across * np.array([-0.5, 0.5])))
    cloud.set_xlabel(shown.names[0])
    cloud.set_ylabel(shown.names[1])
    title(cloud, shown.title)
    draw_distribution(amount, shown.value, shown.label, colour_of(shown.number))
    if shown.ends is not None:
        amount.axvline(float(shown.value.mean()), color=DARK, linewidth=0.8, linestyle="--", label="mean")
        amount.legend(fontsize=LEGEND, frameon=False, labelcolor=DARK, loc="best")
    amount.set_xlabel(shown.quantity)
    amount.set_ylabel("particles")
    _draw_change(space, shown, molecule)
    save_figure(figure, path)


def _draw_continuum(axes: Axes, shown: RegionView) -> None:
    """Draw the particles of a continuum, with the ends that are compared in colours of their own."""
    plane, ends = shown.plane, np.asarray(shown.ends)
    size, image = marker_size(len(plane)), len(plane) > MANY
    groups = [(-1, GREY, "between"), (0, END_COLOURS[0], ENDS[0]), (1, END_COLOURS[1], ENDS[1])]
    for group, colour, text in groups:
        inside = ends == group
        x, y = plane[inside].T
        axes.scatter(x, y, s=size, color=colour, alpha=0.7, linewidths=0, label=text, rasterized=image)
    axes.legend(
        fontsize=LEGEND,
        frameon=False,
        labelcolor=DARK,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        markerscale=max(1.0, np.sqrt(18 / size)),
        handletextpad=0.3,
    )


def _draw_change(axes: Axes, shown: RegionView, molecule: Molecule) -> None:
    """Draw the Gaussians over the map's outline in its widest view; members as arrows, or by gained amplitude."""
    view = molecule.widest_view()
    position, size = molecule.position, 2 * marker_size(len(molecule.position))
    draw_outline(axes, molecule, view)
    x, y = position[:, view.across], position[:, view.up]
    axes.scatter(x[~shown.member], y[~shown.member], s=0.5 * size, color=GREY, alpha=0.4, linewidths=0, zorder=2)
    inside = np.flatnonzero(shown.member)
    inside = inside[np.argsort(molecule.nearness(view)[inside], kind="stable")]
    length = np.linalg.norm(shown.moved[inside], axis=1)
    if np.percentile(length, LONG) > STILL and np.percentile(length, LONG) > np.abs(shown.gained[inside]).max():
        _draw_arrows(axes, shown, molecule, inside[:: max(1, len(inside) // MOST_ARROWS)], (view.across, view.up))
        return
    most = max(float(np.abs(shown.gained[inside]).max(initial=0)), 1e-6)
    drawn = axes.scatter(
        x[inside],
        y[inside],
        c=shown.gained[inside],
        s=2 * size,
        cmap="coolwarm",
        vmin=-most,
        vmax=most,
        linewidths=0,
        zorder=3,
    )
    colour_bar(axes, drawn, f"relative amplitude, {shown.compared}")


def _draw_arrows(axes: Axes, shown: RegionView, molecule: Molecule, inside: np.ndarray, plane: tuple[int, int]) -> None:
    """Draw where Gaussians move, enlarged by a round factor that is told, with room for every arrow's head."""
    start, moved = molecule.position[inside][:, plane], shown.moved[inside][:, plane]
    length = np.linalg.norm(shown.moved[inside], axis=1)
    wanted = LONGEST * 2 * molecule.reach / max(float(np.percentile(length, LONG)), 1e-9)
    decade = 10.0 ** np.floor(np.log10(max(wanted, 1.0)))
    factor = max(1.0, *(step * decade for step in (1, 2, 5) if step * decade <= max(wanted, 1.0)))
    drawn = axes.quiver(
        *start.T,
        *(factor * moved).T,
        length,
        angles="xy",
        scale_units="xy",
        scale=1,
        cmap="viridis",
        width=0.006,
        zorder=3,
    )
    drawn.set_clim(0, max(float(length.max(initial=0)), 1e-9))
    reach = max(molecule.reach, 1.03 * float(np.abs(start + factor * moved).max()))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    enlarged = "" if factor == 1 else f"; arrows {factor:g} times as long"
    axes.set_title(f"{axes.get_title(loc='left')}{enlarged}", fontsize=SMALL, loc="left", color=DARK)
    colour_bar(axes, drawn, f"Å moved, {shown.compared}")
