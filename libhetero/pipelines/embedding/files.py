"""The plane of a run as a table of index, x and y, and as a figure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from libhetero.analysis.regions import Regions
from libhetero.io import write_latent
from libhetero.pipelines.decoding.gaussians import Changes
from libhetero.report.embedding import Labelling, draw_gaussians, draw_particles
from libhetero.report.style import axis_names

LOGGER = logging.getLogger(__name__)


def write_particle_plane(folder: Path, plane: Float[np.ndarray, "particles 2"]) -> Path:
    """Write embed_particles.txt; return it."""
    table = folder / "embed_particles.txt"
    write_latent(table, np.arange(len(plane)), plane)
    return table


def draw_particle_plane(
    folder: Path, plane: Float[np.ndarray, "particles 2"], labellings: Sequence[Labelling], names: tuple[str, str]
) -> Path:
    """Draw embed_particles.png, by density and by each labelling, its axes so named; return it."""
    figure = folder / "embed_particles.png"
    draw_particles(figure, plane, labellings, names)
    return figure


def write_gaussian_plane(folder: Path, changes: Changes, regions: Regions, method: str) -> tuple[Path, Path]:
    """Write embed_gaussians.txt, of the Gaussians that change, and its figure; return both.

    Parameters
    ----------
    changes : how the Gaussians change over all particles.
    regions : what was found of them, and the plane.
    method : "umap" or "pca".
    """
    LOGGER.info(
        "%s of %d Gaussians over %d particles: %d change, %d constant, %.1f%% of variance kept",
        changes.feature,
        len(regions.label),
        changes.count,
        np.sum(regions.label != 0),
        np.sum(regions.label == 0),
        100 * regions.explained,
    )
    table, figure = folder / "embed_gaussians.txt", folder / "embed_gaussians.png"
    shown = np.flatnonzero(np.isfinite(regions.embedding).all(axis=1))
    write_latent(table, shown, regions.embedding[shown])
    draw_gaussians(figure, regions.embedding, regions.label, axis_names(method))
    return table, figure
