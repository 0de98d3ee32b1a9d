"""Particles as they are, beside what their model makes of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.dashboard.runs import ServedRun

MOST, LARGEST_BOX = 64, 128  # images at a time, and their pixels along each side
KINDS = ("image", "projection", "residual")


def stored_images(run: ServedRun, rows: Int[np.ndarray, "chosen"]) -> Float[np.ndarray, "chosen m m"]:
    """Return particles from their stacks, protein white, in a box that a page can show.

    Raises
    ------
    DataError : if a stack cannot be read.
    """
    from libhetero.io import ImageReader
    from libhetero.training.preprocess import fourier_crop

    particles = run.particles()
    with ImageReader(particles) as reader:
        images = reader.read(rows)
    sign = run.config.data.preprocess.contrast or 1
    return np.nan_to_num(fourier_crop(sign * images, shown_box(images.shape[-1])))


def shown_box(box: int) -> int:
    """Return the box that images of this one are shown in."""
    return min(box, LARGEST_BOX)
