"""Some particles beside what the model makes of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from libhetero.report.scale_bar import draw_scale_bar
from libhetero.report.style import DARK, LABEL, LEGEND, new_figure, save_figure

COMPARABLE = 3.0  # times: eyes can still compare images of this difference in contrast
PERCENTILES = (0.5, 99.5)
WIDTH = 1.5  # inches an image


def draw_samples(
    path: str | os.PathLike,
    title: str,
    captions: Sequence[str],
    data: Float[np.ndarray, "particles n n"],
    model: Float[np.ndarray, "particles n n"],
    pixel_size: float,
) -> None:
    """Draw a column a particle: its image, the model's, and the first less the second.

    Grey levels are the same for all images; those of the model alone are stretched, by a factor that
    is written beside them, where noise would leave nothing of them to be seen.

    Parameters
    ----------
    path : PNG to make.
    title : of the figure.
    captions : one for each particle.
    data : images (y, x), mean 0.
    model : what the model says they are without noise, on the same scale, mean 0.
    pixel_size : Å, for the scale bar in the first image.
    """
    factor = contrast_factor(data, model)
    rows = {
        "data": data,
        "model" if factor == 1 else f"model, contrast ×{factor:g}": factor * model,
        "residual": data - model,
    }
    low, high = _levels(data)
    count = len(data)
    figure, axes = new_figure(WIDTH * count + 0.5, 3 * WIDTH + 0.8, len(rows), count)
    figure.suptitle(title, fontsize=LABEL, color=DARK)
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(name, fontsize=LEGEND, color=DARK)
    for axis, caption in zip(axes[0], captions, strict=True):
        axis.set_title(caption, fontsize=LEGEND, color=DARK)
    draw_scale_bar(axes[0, 0], data.shape[-1], pixel_size)
    save_figure(figure, path)


def contrast_factor(data: Float[np.ndarray, "particles n n"], model: Float[np.ndarray, "particles n n"]) -> float:
    """Return what the model's images are multiplied by to be seen: 1, or 2, 5, 10, 20, … below the ratio.

    It is 1 where the grey levels of data and model differ by less than three times, and for a flat model.
    """
    wide, narrow = (high - low for low, high in (_levels(data), _levels(model)))
    ratio = wide / narrow
    if ratio < COMPARABLE or np.ptp(model) == 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(ratio))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= ratio))


def _levels(images: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(images, PERCENTILES)
    return float(low), float(max(high, low + 1e-12))
