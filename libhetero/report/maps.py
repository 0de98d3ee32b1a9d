"""Volumes at a glance: their surfaces from three sides, at one level, and a central slice."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb

from libhetero.report.scale_bar import draw_scale_bar
from libhetero.report.style import DARK, LEGEND, colour_of, new_figure, save_figure
from libhetero.report.surfaces import VIEWS, Surface, at_surface, common_level, cropped, refined, seen_along

MOST = 8
NEUTRAL = (0.80, 0.82, 0.85)
MORE, LESS = to_rgb(colour_of(2)), to_rgb(colour_of(1))  # of the surface, where it is denser than the mean, or less
FULL = 0.5  # of the level: the difference from which on a colour is full
SIDES = {"z": "from +z (x right, y up)", "y": "from −y (x right, z up)", "x": "from +x (y right, z up)"}


def draw_maps(
    path: str | os.PathLike,
    volumes: Sequence[Float[np.ndarray, "n n n"]],
    names: Sequence[str],
    pixel_size: float,
    of: int | None = None,
) -> float:
    """Draw at most eight volumes, a row each: the surface along z, y and x, then the slice z = 0; return the level.

    Level, crop and grey levels are the same for all volumes, so that they can be compared. Of several volumes the
    surface is coloured by how much denser the volume is there than the mean of those shown. Scale bars are in the
    first row, for all rows the same.

    Parameters
    ----------
    path : PNG to make.
    volumes : (z, y, x).
    names : one for each, which may be of several lines.
    pixel_size : Å, of all.
    of : how many volumes there are, of which these are some; None for no more than these.
    """
    shown = [int(place) for place in np.linspace(0, len(volumes) - 1, min(len(volumes), MOST))]
    level = common_level([volumes[place] for place in shown])
    (first, *_), (side, *_) = cropped([volumes[place] for place in shown], level)
    inside = slice(int(first), int(first + side))
    parts = [np.asarray(volumes[place][inside, inside, inside], np.float32) for place in shown]
    mean = refined(np.mean(parts, axis=0)) if len(parts) > 1 else None
    figure, axes = new_figure(7.4, 1.75 * len(shown) + 0.55, len(shown), 4)
    low, high = _grey_levels(parts)
    for row, (place, part) in enumerate(zip(shown, parts, strict=True)):
        fine = refined(part)
        for axis, view in zip(axes[row], VIEWS, strict=False):
            surface = seen_along(fine, level, view)
            axis.imshow(
                coloured(surface, None if mean is None else tint_of(mean, surface, view, level)),
                origin="lower",
                interpolation="bilinear",
            )
        axes[row, 3].imshow(part[len(part) // 2], cmap="Greys", vmin=low, vmax=high, origin="lower")
        axes[row, 0].set_ylabel(names[place], fontsize=LEGEND, color=DARK)
    for axis, (view, *_) in ((axes[0, 0], fine.shape), (axes[0, 3], parts[0].shape)):
        draw_scale_bar(axis, view, pixel_size * side / view, "black")
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for axis, text in zip(axes[0], (*SIDES.values(), "slice z = 0"), strict=True):
        axis.set_title(text, fontsize=LEGEND, color=DARK)
    figure.suptitle(_legend(level, mean is not None, len(shown), of or len(volumes)), fontsize=LEGEND, color=DARK)
    save_figure(figure, path)
    return level


def _legend(level: float, compared: bool, shown: int, of: int) -> str:
    """Return what the figure shows, in a line or two."""
    which = f"{shown} of {of} volumes" if shown < of else "all volumes" if of > 1 else "one volume"
    text = f"{which}; surfaces at the level {level:.3g}, for all the same"
    return f"{text}\norange: denser than the mean of those shown, blue: less" if compared else text


def tint_of(
    mean: Float[np.ndarray, "a b c"], surface: Surface, view: str, level: float
) -> Float[np.ndarray, "rows columns"]:
    """Return how much denser a volume is at its surface than a mean, from -1 (less) to 1 (more) of `FULL` levels.

    Parameters
    ----------
    mean : refined as the volume was.
    surface, view, level : of the volume, from `seen_along`.
    """
    tint: np.ndarray = (level - at_surface(mean, surface, view)) / (FULL * abs(level) or 1.0)
    return tint


def coloured(surface: Surface, tint: Float[np.ndarray, "rows columns"] | None) -> Float[np.ndarray, "rows columns 3"]:
    """Return red, green and blue of a surface on white; `tint` from -1 (less) to 1 (more)."""
    hit = np.isfinite(surface.depth)
    colour = np.broadcast_to(np.array(NEUTRAL), (*hit.shape, 3))
    if tint is not None:
        part = np.clip(np.nan_to_num(tint), -1, 1)[..., None]
        towards = np.where(part > 0, np.array(MORE), np.array(LESS))
        colour = (1 - np.abs(part)) * colour + np.abs(part) * towards
    brightness = np.nan_to_num(surface.brightness)[..., None]
    picture: np.ndarray = np.where(hit[..., None], np.clip(1.3 * colour * brightness, 0, 1), 1.0)
    return picture


def _grey_levels(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    middles = np.concatenate([part[len(part) // 2].ravel() for part in parts])
    low, high = np.percentile(middles, [25, 99.9])  # solvent white, molecule dark
    return float(low), float(max(high, low + 1e-12))
