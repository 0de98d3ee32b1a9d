"""Particles as their model is shown them, beside what it makes of them, and what is left.

Images are read from their stacks by this process, projections are made by a worker.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.workers import Workers, trained
from libhetero.io import ImageReader
from libhetero.training.preprocess import fourier_crop, preprocess

MOST, LARGEST_BOX = 64, 128  # images at a time, and their pixels along each side
KINDS = ("image", "projection", "residual")
AT_ONCE = 2  # requests, of which each may wait for the worker
REMEMBERED = 16  # answers of a worker
PATIENCE = 300.0  # seconds for an answer


def stored_images(run: ServedRun, rows: Int[np.ndarray, "chosen"]) -> Float[np.ndarray, "chosen m m"]:
    """Return particles as their model is shown them, less their means, in a box that a page can show.

    Raises
    ------
    DataError : if a stack cannot be read.
    """
    particles = run.particles()
    with ImageReader(particles) as reader:
        images = preprocess(np.nan_to_num(reader.read(rows)), run.config.data.preprocess)
    return shown(images - images.mean(axis=(1, 2), keepdims=True))


def shown(images: Float[np.ndarray, "chosen n n"]) -> Float[np.ndarray, "chosen m m"]:
    """Return images in the box that they are shown in, cropped in Fourier space where they are larger."""
    return np.asarray(fourier_crop(images, min(images.shape[-1], LARGEST_BOX)), np.float32)


class Projections:
    """Projections of models, of which the last few are remembered."""

    def __init__(self) -> None:
        self._workers = Workers(PATIENCE)
        self._locks: dict[Path, threading.Lock] = {}
        self._known: OrderedDict[Any, np.ndarray] = OrderedDict()

    def images(self, run: ServedRun, rows: Int[np.ndarray, "chosen"], what: str) -> Float[np.ndarray, "chosen m m"]:
        """Return projections, or images less projections.

        Raises
        ------
        UserError : if the run cannot be opened, as before its first checkpoint.
        """
        images, model = self._both(run, rows)
        return shown(model if what == "projection" else images - model)

    def close(self) -> None:
        """End the workers."""
        self._workers.close()

    def _both(self, run: ServedRun, rows: Int[np.ndarray, "chosen"]) -> np.ndarray:
        key = (run.root, trained(run), rows.tobytes())
        found = self._known.get(key)
        if found is None:
            # A worker answers one at a time; what another has asked for meanwhile is there then.
            with self._locks.setdefault(run.root, threading.Lock()):
                found = self._known.get(key)
                if found is None:
                    found = self._known[key] = self._workers.images(run, rows)
                    while len(self._known) > REMEMBERED:
                        self._known.popitem(last=False)
        return found
