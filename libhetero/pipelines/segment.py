"""Regions of a Gaussian run, and the classes of particles that each region tells apart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.density import EpsScan
from libhetero.analysis.gaussian_features import FEATURES
from libhetero.analysis.regions import RegionConfig, Regions, find_regions
from libhetero.errors import ConfigurationError
from libhetero.pipelines.decoded import LEAST_SHARE, Changes, measure_changes, neutral_gaussians
from libhetero.pipelines.embed import FEATURE_CHOICES, check_at_least, check_choice
from libhetero.pipelines.latents import particle_latents
from libhetero.pipelines.region_files import write_region_files
from libhetero.pipelines.region_particles import (
    RegionClasses,
    classify_regions,
    write_region_classes,
)
from libhetero.pipelines.run_folder import Run, open_run
from libhetero.report.embedding import draw_gaussians
from libhetero.report.eps import draw_eps
from libhetero.report.regions import draw_regions_in_space

LOGGER = logging.getLogger(__name__)
CLASS_METHODS = ("kmeans", "hdbscan")


@dataclass(frozen=True)
class SegmentConfig:
    """How to find regions and classes.

    Parameters
    ----------
    folder : a run folder of the Gaussian family.
    method : "dbscan" or "hdbscan", on the embedded Gaussians.
    eps : DBSCAN's; None to choose it from the data.
    feature : what changes of a Gaussian, "amplitude", "motion", "both" or "auto".
    min_size : fewest Gaussians of a region.
    constant : size of change below which a Gaussian is constant; None to find the gap.
    neighbours : UMAP's neighbours.
    seed : of UMAP and k-means.
    classes : particle classes a region; None to choose 1 to 8.
    class_method : "kmeans" or "hdbscan".
    components : coordinates of a particle by one region's outputs.
    batch_size : particles decoded at once.
    memory : GiB for the covariance of Gaussians.
    """

    folder: str
    method: str = "dbscan"
    eps: float | None = None
    feature: str = "auto"
    min_size: int = 10
    constant: float | None = None
    neighbours: int = 15
    seed: int = 0
    classes: int | None = None
    class_method: str = "kmeans"
    components: int = 4
    batch_size: int = 64
    memory: float = 4.0

    def __post_init__(self) -> None:
        self.regions("amplitude")
        check_choice("feature", self.feature, FEATURE_CHOICES)
        check_choice("class_method", self.class_method, CLASS_METHODS)
        check_at_least("components", self.components, 2)
        check_at_least("batch_size", self.batch_size, 1)
        if self.method == "hdbscan" and self.eps is not None:
            raise ConfigurationError("--eps is DBSCAN's; leave it out with --method hdbscan.")
        if self.class_method == "hdbscan" and self.classes is not None:
            raise ConfigurationError(
                "--classes is of k-means; leave it out with --class_method hdbscan."
            )
        if self.classes is not None:
            check_at_least("classes", self.classes, 1)

    def regions(self, feature: str) -> RegionConfig:
        """Return the part that concerns Gaussians, for one kind of change."""
        return RegionConfig(
            method=self.method, eps=self.eps, min_size=self.min_size, constant=self.constant,
            neighbours=self.neighbours, seed=self.seed, least_share=LEAST_SHARE[feature],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What was found and written.

    Parameters
    ----------
    regions : of the Gaussians.
    feature : what kind of change they come from.
    classes : one for each region that changes, in order.
    files : written, the ones to look at first.
    """

    regions: Regions
    feature: str
    classes: tuple[RegionClasses, ...]
    files: tuple[Path, ...]


def run(
    config: SegmentConfig, progress: Callable[[float], None] | None = None
) -> SegmentResult:
    """Find regions and classes, and write them into the run folder.

    Parameters
    ----------
    config : how.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder or the options.
    """
    advance = progress or (lambda fraction: None)
    trained = open_run(config.folder)
    neutral = neutral_gaussians(trained)
    latent = particle_latents(trained, config.batch_size)
    changes = measure_changes(
        trained, latent, config.feature, config.batch_size, config.memory,
        lambda fraction: advance(0.4 * fraction),
    )  # fmt: skip
    regions = find_regions(changes.similarity(), config.regions(changes.feature))
    _tell(regions, changes)
    files = write_region_files(trained, neutral, regions)
    files += _draw(trained.folder, np.asarray(neutral.position), regions)
    classes = classify_regions(
        trained, latent, changes, regions, config.components, config.classes,
        config.class_method, config.batch_size, config.seed,
        lambda fraction: advance(0.4 + 0.5 * fraction),
    )  # fmt: skip
    files += write_region_classes(trained, classes, changes.feature)
    return SegmentResult(regions, changes.feature, tuple(classes), tuple(files))


def _tell(regions: Regions, changes: Changes) -> None:
    numbers = FEATURES[changes.feature]
    LOGGER.info(
        "%d Gaussians × %d particles × %d number(s) of %s; PCA keeps %.1f%% of the shared change",
        len(regions.label), changes.count, numbers, changes.feature, 100 * regions.explained,
    )  # fmt: skip
    constant = len(regions.members(0))
    unassigned = len(regions.members(-1))
    LOGGER.info(
        "%d Gaussians are constant: they change less than %.3g, or much less than their region",
        constant, regions.threshold,
    )  # fmt: skip
    if regions.eps is not None:
        LOGGER.info("DBSCAN with eps %.3g", regions.eps)
    LOGGER.info(
        "%d region(s), silhouette %.2f, agreement with average linkage %.2f, %d unassigned",
        regions.count, regions.score, regions.agreement, unassigned,
    )  # fmt: skip
    for region in range(1, regions.count + 1):
        members = regions.members(region)
        LOGGER.info(
            "region %d: %d Gaussians, change %.2f", region, len(members),
            float(np.median(regions.size[members])),
        )  # fmt: skip
    if regions.count == 0:
        LOGGER.warning("no region changes; train longer, or lower --constant.")
    elif regions.agreement < 0.5:
        LOGGER.warning("DBSCAN and average linkage disagree; look at regions_eps.png, try --eps.")


def _draw(folder: Path, position: np.ndarray, regions: Regions) -> list[Path]:
    files = [folder / "regions.png", folder / "regions_embedding.png"]
    draw_regions_in_space(files[0], position, regions.label)
    draw_gaussians(files[1], regions.embedding, regions.label)
    if isinstance(regions.scan, EpsScan):
        scan = regions.scan
        files.append(folder / "regions_eps.png")
        draw_eps(files[-1], scan.eps, scan.clusters, scan.noise, scan.score, regions.eps)
    return files
