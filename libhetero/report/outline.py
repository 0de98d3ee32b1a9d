"""The molecule behind what is drawn of its Gaussians: the outline of its projection, and how deep each one lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from libhetero.report.style import DARK, SMALL

CELLS = 120  # of a projection along each side
LEVEL = 0.25  # of the projection where half of the Gaussians have more, at which the outline lies
FARTHEST = 0.65  # part of white in the colour of what lies farthest from the viewer
MARGIN = 1.08  # of the widest Gaussian's place


@dataclass(frozen=True)
class View:
    """A view along an axis: which coordinates run to the right and up, and which towards the viewer.

    Parameters
    ----------
    across, up : coordinates, 0 to 2 for x, y, z.
    depth : the third.
    sign : of the direction towards the viewer.
    text : in words.
    """

    across: int
    up: int
    depth: int
    sign: int
    text: str


# Those of the surfaces in `maps`, in the same order.
VIEWS = (View(0, 1, 2, 1, "from +z"), View(0, 2, 1, -1, "from −y"), View(1, 2, 0, 1, "from +x"))


@dataclass(frozen=True, eq=False)
class Molecule:
    """Gaussians of the structure that changes are measured from.

    Parameters
    ----------
    position : Å.
    amplitude : in any unit.
    sigma : Å.
    """

    position: Float[np.ndarray, "gaussians 3"]
    amplitude: Float[np.ndarray, "gaussians"]
    sigma: Float[np.ndarray, "gaussians"]

    @property
    def reach(self) -> float:
        """Å from the centre within which figures show it."""
        return MARGIN * float((np.abs(self.position).max(axis=1) + 2 * self.sigma).max(initial=1.0))

    def widest_view(self) -> View:
        """Return the view that shows most of it."""
        width = np.ptp(self.position, axis=0)
        return max(VIEWS, key=lambda view: width[view.across] * width[view.up])

    def nearness(self, view: View) -> Float[np.ndarray, "gaussians"]:
        """Return how near each Gaussian lies to the viewer, from 0 to 1."""
        depth = view.sign * self.position[:, view.depth]
        return (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)

    def projection(self, view: View) -> tuple[Float[np.ndarray, "cells"], Float[np.ndarray, "cells cells"]]:
        """Return the cells' places (Å), the same to the right and up, and the projected density (up, right)."""
        cells = np.linspace(-self.reach, self.reach, CELLS)
        right, high = (
            np.exp(-0.5 * ((cells - self.position[:, axis, None]) / self.sigma[:, None]) ** 2)
            for axis in (view.across, view.up)
        )
        weight = np.maximum(self.amplitude, 0) / np.maximum(self.sigma, 1e-6) ** 2
        return cells, (high * weight[:, None]).T @ right


def draw_outline(axes: Axes, molecule: Molecule, view: View) -> None:
    """Draw the outline of the molecule in a view, and make the axes those of the view, in Å."""
    cells, density = molecule.projection(view)
    place = [np.clip(np.searchsorted(cells, molecule.position[:, one]), 0, CELLS - 1) for one in (view.up, view.across)]
    level = LEVEL * float(np.median(density[tuple(place)]))
    if density.min() < level < density.max():
        axes.contour(cells, cells, density, levels=[level], colors=[DARK], linewidths=0.9, zorder=1)
    axes.set_aspect("equal")
    axes.set_xlim(-molecule.reach, molecule.reach)
    axes.set_ylim(-molecule.reach, molecule.reach)
    axes.set_xlabel(f"{'xyz'[view.across]} (Å)")
    axes.set_ylabel(f"{'xyz'[view.up]} (Å)")
    axes.set_title(view.text, fontsize=SMALL, color=DARK, loc="left")


def faded(colour: str, nearness: Float[np.ndarray, "points"]) -> Shaped[np.ndarray, "points rgb"]:
    """Return a colour as pale as points lie far from the viewer."""
    white = FARTHEST * (1 - nearness[:, None])
    mixed: np.ndarray = (1 - white) * np.array(to_rgb(colour)) + white
    return mixed
