"""Two-dimensional views of a run: its particles by latent, or its Gaussians by how they change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.embedding import principal_plane, umap_plane
from libhetero.analysis.regions import RegionConfig, find_regions
from libhetero.errors import ConfigurationError
from libhetero.io import write_latent
from libhetero.pipelines.decoded import measure_changes, neutral_gaussians
from libhetero.pipelines.latents import particle_latents
from libhetero.pipelines.run_folder import Run, open_run
from libhetero.report.embedding import draw_gaussians, draw_particles

LOGGER = logging.getLogger(__name__)
METHODS = ("umap", "pca")
AUTO, MEMORY = "auto", 4.0
FEATURE_CHOICES = (AUTO, "amplitude", "motion", "both")


@dataclass(frozen=True)
class EmbedConfig:
    """What to embed, and how.

    Parameters
    ----------
    folder : a run folder.
    gaussians : the Gaussians over all particles, instead of the particles.
    method : "umap" or "pca".
    feature : what changes of a Gaussian, "amplitude", "motion", "both" or "auto"; of Gaussians only,
        None for "auto".
    neighbours : UMAP's neighbours.
    min_distance : UMAP's, how tightly particles may lie.
    seed : of UMAP.
    batch_size : particles encoded or decoded at once.
    memory : GiB for the covariance of Gaussians; None for 4.
    """

    folder: str
    gaussians: bool = False
    method: str = "umap"
    feature: str | None = None
    neighbours: int = 15
    min_distance: float = 0.1
    seed: int = 0
    batch_size: int = 64
    memory: float | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        if not self.gaussians:
            for name in ("feature", "memory"):
                if getattr(self, name) is not None:
                    raise ConfigurationError(
                        f"--{name} is of Gaussians, and particles are embedded by their latents; "
                        f"leave it out, or add --gaussians."
                    )
        check_choice("feature", self.feature or AUTO, FEATURE_CHOICES)
        check_at_least("neighbours", self.neighbours, 2)
        check_at_least("batch_size", self.batch_size, 1)
        if not 0 <= self.min_distance <= 1:
            raise ConfigurationError(f"min_distance: expected 0 to 1, got {self.min_distance:g}.")


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """What was written.

    Parameters
    ----------
    table : text file, index x y.
    figure : PNG.
    plane : (points, 2); NaN for constant Gaussians.
    """

    table: Path
    figure: Path
    plane: np.ndarray


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigurationError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigurationError(f"{name}: expected {', '.join(allowed)}; got {value!r}.")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise ConfigurationError if `value` is below `least`."""
    if value < least:
        raise ConfigurationError(f"{name}: expected at least {least:g}, got {value:g}.")


def run(
    config: EmbedConfig, progress: Callable[[float], None] | None = None
) -> EmbedResult:
    """Embed, write the table and the figure into the run folder.

    Parameters
    ----------
    config : what to embed.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder or the options.
    """
    trained = open_run(config.folder)
    if config.gaussians:
        neutral_gaussians(trained)
    latent = particle_latents(trained, config.batch_size, progress)
    if config.gaussians:
        return _embed_gaussians(trained, latent, config, progress)
    return _embed_particles(trained, latent, config)


def _embed_particles(trained: Run, latent: np.ndarray, config: EmbedConfig) -> EmbedResult:
    centred = latent - latent.mean(axis=0)
    plane = principal_plane(latent)
    explained = float((plane**2).sum() / max(float((centred**2).sum()), 1e-30))
    LOGGER.info(
        "latent of %d numbers, %.1f%% of its variance in the first two principal components",
        latent.shape[1], 100 * explained,
    )  # fmt: skip
    if config.method == "umap":
        LOGGER.info("UMAP of %d particles, %d neighbours", len(latent), config.neighbours)
        plane = umap_plane(latent, config.neighbours, config.min_distance, config.seed)
    table, figure = _paths(trained, "particles")
    write_latent(table, np.arange(len(plane)), plane)
    draw_particles(figure, plane, axis=_axis(config.method))
    return EmbedResult(table, figure, plane)


def _embed_gaussians(
    trained: Run,
    latent: np.ndarray,
    config: EmbedConfig,
    progress: Callable[[float], None] | None,
) -> EmbedResult:
    changes = measure_changes(
        trained, latent, config.feature or AUTO, config.batch_size,
        MEMORY if config.memory is None else config.memory, progress,
    )
    regions = find_regions(
        changes.similarity(),
        RegionConfig(
            feature=changes.feature, embedding=config.method, neighbours=config.neighbours,
            seed=config.seed,
        ),  # fmt: skip
    )
    LOGGER.info(
        "%s of %d Gaussians over %d particles: %d change, %d constant, %.1f%% of variance kept",
        changes.feature, len(regions.label), changes.count, np.sum(regions.label != 0),
        np.sum(regions.label == 0), 100 * regions.explained,
    )  # fmt: skip
    table, figure = _paths(trained, "gaussians")
    shown = np.flatnonzero(np.isfinite(regions.embedding).all(axis=1))
    write_latent(table, shown, regions.embedding[shown])
    draw_gaussians(figure, regions.embedding, regions.label, axis=_axis(config.method))
    return EmbedResult(table, figure, regions.embedding)


def _paths(trained: Run, what: str) -> tuple[Path, Path]:
    return trained.folder / f"embed_{what}.txt", trained.folder / f"embed_{what}.png"


def _axis(method: str) -> str:
    return "UMAP" if method == "umap" else "PC"
