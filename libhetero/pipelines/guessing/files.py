"""Fitted Gaussians as files: EMAN2's text, pseudo-atoms, and how well they explain the map."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from libhetero.files import replacing_set
from libhetero.io import write_gaussians, write_gaussians_pdb
from libhetero.io.fsc import write_fsc
from libhetero.models.gmm.start.fit import FittedMixture, MapToFit
from libhetero.physics.symmetry import symmetric_copies
from libhetero.pipelines.maps.curves import read_off
from libhetero.report.fsc import draw_fsc

MODEL = 0.5  # where the correlation of a map and a model is read off
LOGGER = logging.getLogger(__name__)


def write_mixture(output: Path, goal: MapToFit, fitted: FittedMixture) -> None:
    """Write the unit as text, the whole complex as pseudo-atoms, and the FSC: all of it or nothing."""
    with replacing_set(output.parent):
        _write_all(output, goal, fitted)
    LOGGER.info("wrote %s, .pdb, _fsc.txt and _fsc.png", output)


def _write_all(output: Path, goal: MapToFit, fitted: FittedMixture) -> None:
    n, pixel_size = goal.volume.shape[0], goal.pixel_size
    write_gaussians(output, fitted.gaussians, n, pixel_size)
    centre = n // 2 * pixel_size  # where viewers, which start at a corner, see it
    copies, count = len(goal.operators), len(fitted.gaussians.sigma)
    write_gaussians_pdb(
        output.with_suffix(".pdb"),
        symmetric_copies(fitted.gaussians, goal.operators),
        chain=np.repeat(np.arange(copies), count),
        origin=(centre,) * 3,
    )
    allowed = np.sqrt(goal.trust)
    write_fsc(
        output.with_name(f"{output.stem}_fsc.txt"),
        {"FSC of map and Gaussians": fitted.fsc, "FSC of map and truth, expected": allowed},
        pixel_size,
    )
    draw_fsc(
        output.with_name(f"{output.stem}_fsc.png"),
        {
            f"map against {count * copies} Gaussians": read_off(fitted.fsc, MODEL, pixel_size),
            "most the map's noise allows": read_off(allowed, MODEL, pixel_size),
        },
        pixel_size,
    )
