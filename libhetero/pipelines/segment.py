"""Regions of a Gaussian run, and the classes of particles that each region tells apart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.density import EpsScan
from libhetero.analysis.gaussian_features import FEATURES
from libhetero.analysis.regions import RegionConfig, Regions, find_regions
from libhetero.errors import ConfigurationError
from libhetero.pipelines.decoding.gaussians import Changes, measure_changes, neutral_gaussians
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.embed import AUTO, FEATURE_CHOICES, MEMORY, check_at_least, check_choice
from libhetero.pipelines.regions.files import write_region_files
from libhetero.pipelines.regions.mixtures import ClassMixtures, class_mixtures, write_class_mixtures
from libhetero.pipelines.regions.page import write_region_page
from libhetero.pipelines.regions.particles import QUANTITY, RegionClasses, classify_regions, write_region_classes
from libhetero.pipelines.run.folder import open_run
from libhetero.records import Gaussians
from libhetero.report.embedding import draw_gaussians
from libhetero.report.eps import draw_eps
from libhetero.report.region import draw_region
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
    eps : DBSCAN's, its clusters taken as they are; None to choose it from the data and refine.
    feature : what changes of a Gaussian, "amplitude", "motion", "both" or "auto".
    min_size : fewest Gaussians of a region; None for a hundredth of all, at least 5.
    constant : size of change below which a Gaussian or a region is constant; None to judge by the
        strong changes.
    neighbours : UMAP's neighbours; None for 5 to 15, by the number of Gaussians.
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
    feature: str = AUTO
    min_size: int | None = None
    constant: float | None = None
    neighbours: int | None = None
    seed: int = 0
    classes: int | None = None
    class_method: str = "kmeans"
    components: int = 4
    batch_size: int = 64
    memory: float = MEMORY

    def __post_init__(self) -> None:
        self.regions("amplitude")
        check_choice("feature", self.feature, FEATURE_CHOICES)
        check_choice("class_method", self.class_method, CLASS_METHODS)
        check_at_least("components", self.components, 2)
        check_at_least("batch_size", self.batch_size, 1)
        if self.method == "hdbscan" and self.eps is not None:
            raise ConfigurationError("--eps is DBSCAN's; leave it out with --method hdbscan.")
        if self.class_method == "hdbscan" and self.classes is not None:
            raise ConfigurationError("--classes is of k-means; leave it out with --class_method hdbscan.")
        if self.classes is not None:
            check_at_least("classes", self.classes, 1)

    def regions(self, feature: str) -> RegionConfig:
        """Return the part that concerns Gaussians, for one kind of change."""
        return RegionConfig(
            feature=feature,
            method=self.method,
            eps=self.eps,
            min_size=self.min_size,
            constant=self.constant,
            neighbours=self.neighbours,
            seed=self.seed,
        )


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What was found and written.

    Parameters
    ----------
    regions : of the Gaussians.
    feature : what kind of change they come from.
    classes : one for each region that changes, in order.
    page : index.html, which links the rest.
    files : all that was written but the particle lists, the page first.
    """

    regions: Regions
    feature: str
    classes: tuple[RegionClasses, ...]
    page: Path
    files: tuple[Path, ...]


def run(config: SegmentConfig, progress: Callable[[float], None] | None = None) -> SegmentResult:
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
    start = time.monotonic()
    trained = open_run(config.folder)
    neutral = neutral_gaussians(trained)
    with _timed("1/5 how Gaussians change over all particles"):
        latent = particle_latents(trained, config.batch_size)
        changes = measure_changes(
            trained, latent, config.feature, config.batch_size, config.memory, lambda fraction: advance(0.3 * fraction)
        )
    with _timed("2/5 regions of Gaussians"):
        regions = find_regions(changes.similarity(), config.regions(changes.feature))
    _tell(regions, changes)
    with _timed("3/5 files and figures of regions"):
        files = write_region_files(trained, neutral, regions)
        figures = _draw(trained.folder, np.asarray(neutral.position), regions)
    with _timed("4/5 classes of particles by each region"):
        classes = classify_regions(
            trained,
            latent,
            changes,
            regions,
            config.components,
            config.classes,
            config.class_method,
            config.batch_size,
            config.seed,
            lambda fraction: advance(0.4 + 0.3 * fraction),
        )
        files += write_region_classes(trained, classes, changes.feature)
    with _timed("5/5 mean mixtures of classes"):
        mixtures = class_mixtures(
            trained, latent, classes, config.batch_size, lambda fraction: advance(0.7 + 0.3 * fraction)
        )
        written = write_class_mixtures(trained, mixtures)
        figures += _draw_regions(trained.folder, neutral, regions, classes, mixtures, changes.feature)
    facts = _facts(regions, changes, time.monotonic() - start)
    page = write_region_page(trained, neutral, regions, mixtures, facts, figures, written)
    texts = [path for group in written.values() for path in group]
    files = (page, *files, *texts, *figures)
    return SegmentResult(regions, changes.feature, tuple(classes), page, files)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    LOGGER.info("%s …", what)
    start = time.monotonic()
    yield
    LOGGER.info("%s: %.1f s", what, time.monotonic() - start)


def _tell(regions: Regions, changes: Changes) -> None:
    numbers = FEATURES[changes.feature]
    LOGGER.info(
        "%d Gaussians × %d particles × %d number(s) of %s; PCA keeps %.1f%% of the shared change",
        len(regions.label),
        changes.count,
        numbers,
        changes.feature,
        100 * regions.explained,
    )
    constant = len(regions.members(0))
    unassigned = len(regions.members(-1))
    LOGGER.info(
        "%d Gaussians are constant: they change less than %.3g, or much less than the regions",
        constant,
        regions.threshold,
    )
    LOGGER.info("%s", how_found(regions))
    LOGGER.info(
        "%d region(s), silhouette %.2f, agreement with average linkage %.2f, %d unassigned",
        regions.count,
        regions.score,
        regions.agreement,
        unassigned,
    )
    for region in range(1, regions.count + 1):
        members = regions.members(region)
        LOGGER.info(
            "region %d: %d Gaussians, change %.2f", region, len(members), float(np.median(regions.size[members]))
        )
    if regions.count == 0:
        LOGGER.warning("no region changes; train longer, or lower --constant.")
    elif regions.agreement < 0.5:
        LOGGER.warning("the regions and average linkage disagree; look at regions_embedding.png.")


def how_found(regions: Regions) -> str:
    """Return in one line what clustered the Gaussians, and what its clusters became."""
    if regions.scan is None:
        return f"HDBSCAN finds {regions.clusters} cluster(s); refined: {regions.count} region(s)"
    if not np.any(regions.scan.eps == regions.eps):
        return f"DBSCAN with eps {regions.eps:.3g}, as given, finds {regions.clusters} cluster(s)"
    agreeing = regions.scan.eps[regions.scan.groups == regions.count]
    return (
        f"DBSCAN with eps {regions.eps:.3g} finds {regions.clusters} cluster(s); refined: "
        f"{regions.count} region(s), as at {len(agreeing)} of {len(regions.scan.eps)} eps from "
        f"{agreeing.min(initial=regions.eps):.2g} to {agreeing.max(initial=regions.eps):.2g}"
    )


def _draw(folder: Path, position: np.ndarray, regions: Regions) -> list[Path]:
    files = [folder / "regions.png", folder / "regions_embedding.png"]
    draw_regions_in_space(files[0], position, regions.label)
    draw_gaussians(files[1], regions.embedding, regions.label)
    if isinstance(regions.scan, EpsScan):
        scan = regions.scan
        files.append(folder / "regions_eps.png")
        draw_eps(files[-1], scan, regions.eps)
    return files


def _draw_regions(
    folder: Path,
    neutral: Gaussians,
    regions: Regions,
    classes: Sequence[RegionClasses],
    mixtures: Sequence[ClassMixtures],
    feature: str,
) -> list[Path]:
    """Draw region_NN.png of each region, and of all regions how much of them particles have."""
    for stale in folder.glob("region_[0-9]*.png"):
        stale.unlink()
    position, amplitude = (np.asarray(x) for x in (neutral.position, neutral.amplitude))
    paths = [folder / "regions_presence.png"] if classes else []
    for item, mixture in zip(classes, mixtures, strict=True):
        first, last = mixture.mean.take(0), mixture.mean.take(-1)
        gained = (last.amplitude - first.amplitude) / np.maximum(amplitude, np.median(amplitude) / 20)
        paths.append(folder / f"region_{item.region:02d}.png")
        member = regions.label == item.region
        draw_region(
            paths[-1],
            f"region {item.region} ({member.sum()} Gaussians)",
            item.coordinates,
            item.label,
            item.value,
            QUANTITY[feature],
            position,
            member,
            last.position - first.position,
            gained,
        )
    return paths


def _facts(regions: Regions, changes: Changes, seconds: float) -> list[str]:
    """Return the lines at the top of the page."""
    return [
        f"{len(regions.label)} Gaussians over {changes.count} particles, by {changes.feature}: "
        f"{regions.count} region(s) change together, {len(regions.members(0))} Gaussians are "
        f"constant, {len(regions.members(-1))} are in no region.",
        f"{how_found(regions)}. Silhouette {regions.score:.2f}, agreement with average linkage "
        f"{regions.agreement:.2f}.",
        f"Made in {seconds:.0f} s. Classes are numbered from the least amplitude, or from one end of "
        "the motion, to the other; a difference map is a class less the one before it.",
    ]
