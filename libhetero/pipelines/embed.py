"""Two-dimensional views of a run: its particles by latent, or its Gaussians by how they change.

Particles may be sorted into classes on the way. k-means works on the latents (at most 100 numbers, after
PCA), where distances mean what the network meant by them. HDBSCAN works on the plane: density is
hardly defined in a hundred dimensions, where it calls most particles noise and takes hours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.classes import choose_classes, class_medoids, hdbscan_classes, kmeans_classes
from libhetero.analysis.embedding import principal_plane, umap_plane
from libhetero.analysis.regions import RegionConfig, find_regions
from libhetero.errors import ConfigurationError
from libhetero.io import write_latent
from libhetero.pipelines.decoding.class_files import (
    LIST_ENDINGS,
    read_classes,
    remove_class_files,
    write_class_lists,
    write_classes,
)
from libhetero.pipelines.decoding.gaussians import measure_changes, neutral_gaussians
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.pipelines.scoring.truth import open_truth, places_in_truth
from libhetero.report.embedding import Labelling, draw_gaussians, draw_particles

LOGGER = logging.getLogger(__name__)
METHODS = ("umap", "pca")
CLASS_METHODS = ("kmeans", "hdbscan")
PARTICLE_CLASSES = "classes_particles.txt"
MOST_CLASSES = 20  # that "auto" tries
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
    seed : of UMAP and of k-means.
    batch_size : particles encoded or decoded at once.
    memory : GiB for the covariance of Gaussians; None for 4.
    classes : number of classes of particles by k-means, "auto" to choose 2 to 20; None for none, or, where
        `class_method` is given, for "auto" or the number that HDBSCAN finds.
    class_method : "kmeans" or "hdbscan"; None for k-means where `classes` is given.
    min_size : fewest particles of a class, HDBSCAN's; None for a thousandth of all, at least 10.
    lists : write a particle list for each class too.
    truth : folder of a simulated truth whose labels colour the figure, and do nothing else.
    labels : text file of particle index and label, in its place.
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
    classes: int | str | None = None
    class_method: str | None = None
    min_size: int | None = None
    lists: bool = False
    truth: str | None = None
    labels: str | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        self._check_subject()
        self._check_classes()
        check_choice("feature", self.feature or AUTO, FEATURE_CHOICES)
        check_at_least("neighbours", self.neighbours, 2)
        check_at_least("batch_size", self.batch_size, 1)
        if not 0 <= self.min_distance <= 1:
            raise ConfigurationError(f"min_distance: expected 0 to 1, got {self.min_distance:g}.")

    @property
    def sorts(self) -> bool:
        """Whether particles are sorted into classes."""
        return self.classes is not None or self.class_method is not None

    def _check_subject(self) -> None:
        """Refuse options of Gaussians for particles, and of particles for Gaussians."""
        names = ("classes", "class_method", "min_size", "lists", "truth", "labels")
        for name in names if self.gaussians else ("feature", "memory"):
            if getattr(self, name) not in (None, False):
                raise ConfigurationError(
                    f"--{name} is of particles, and Gaussians are embedded; leave it, or --gaussians, out."
                    if self.gaussians
                    else f"--{name} is of Gaussians, and particles are embedded by their latents; leave it "
                    "out, or add --gaussians."
                )

    def _check_classes(self) -> None:
        check_choice("class_method", self.class_method or CLASS_METHODS[0], CLASS_METHODS)
        hdbscan = self.class_method == "hdbscan"
        if isinstance(self.classes, str):
            check_choice("classes", self.classes, (AUTO,))
        elif self.classes is not None:
            check_at_least("classes", self.classes, 1)
            if hdbscan:
                raise ConfigurationError(
                    "--classes is of k-means, and HDBSCAN finds their number; leave one of them out."
                )
        if self.min_size is not None:
            check_at_least("min_size", self.min_size, 2)
            if not hdbscan:
                raise ConfigurationError("--min_size is of HDBSCAN; add --class_method hdbscan.")
        if self.lists and not self.sorts:
            raise ConfigurationError("--lists: which classes? Add --classes or --class_method.")
        if self.truth is not None and self.labels is not None:
            raise ConfigurationError("--truth and --labels both colour the figure; give one of them.")


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """What was written.

    Parameters
    ----------
    table : text file, index x y.
    figure : PNG.
    plane : (points, 2); NaN for constant Gaussians.
    label : (particles,) class of each, -1 for none; None without classes.
    """

    table: Path
    figure: Path
    plane: np.ndarray
    label: np.ndarray | None = None


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigurationError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigurationError(f"{name}: expected {', '.join(allowed)}; got {value!r}.")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise ConfigurationError if `value` is below `least`."""
    if value < least:
        raise ConfigurationError(f"{name}: expected at least {least:g}, got {value:g}.")


def run(config: EmbedConfig, progress: Callable[[float], None] | None = None) -> EmbedResult:
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
    known = _known_labels(trained, config)
    latent = particle_latents(trained, config.batch_size, progress)
    if config.gaussians:
        return _embed_gaussians(trained, latent, config, progress)
    return _embed_particles(trained, latent, known, config)


def _embed_particles(trained: Run, latent: np.ndarray, known: list[Labelling], config: EmbedConfig) -> EmbedResult:
    centred = latent - latent.mean(axis=0)
    plane = principal_plane(latent)
    explained = float((plane**2).sum() / max(float((centred**2).sum()), 1e-30))
    LOGGER.info(
        "latent of %d numbers, %.1f%% of its variance in the first two principal components",
        latent.shape[1],
        100 * explained,
    )
    if config.method == "umap":
        LOGGER.info("UMAP of %d particles, %d neighbours", len(latent), config.neighbours)
        plane = umap_plane(latent, config.neighbours, config.min_distance, config.seed)
    table, figure = _paths(trained, "particles")
    write_latent(table, np.arange(len(plane)), plane)
    label = None
    if config.sorts:
        label = _sort(latent, plane, config)
        known = [Labelling("class", label, class_medoids(latent, label)), *known]
        remove_class_files(trained.folder, "class", *LIST_ENDINGS)
        write_classes(trained.folder / PARTICLE_CLASSES, np.arange(len(label)), label)
        LOGGER.info("wrote %s", trained.folder / PARTICLE_CLASSES)
    if config.lists:
        count = write_class_lists(trained, label, "class")
        LOGGER.info("wrote a .lst and a .star for each of %d classes", count)
    draw_particles(figure, plane, known, axis=_axis(config.method))
    return EmbedResult(table, figure, plane, label)


def _sort(latent: np.ndarray, plane: np.ndarray, config: EmbedConfig) -> np.ndarray:
    """Return the class of every particle: k-means of the latents, or HDBSCAN of the plane."""
    if config.class_method == "hdbscan":
        least = config.min_size or max(10, len(plane) // 1000)
        label = hdbscan_classes(plane, least)
        LOGGER.info(
            "HDBSCAN finds %d classes of at least %d particles in the plane; %.1f%% are in none",
            label.max() + 1,
            least,
            100 * np.mean(label < 0),
        )
        return label
    classes = config.classes
    if not isinstance(classes, int):
        classes, scores = choose_classes(latent, MOST_CLASSES, config.seed)
        LOGGER.info("%d classes, silhouette %.2f", classes, scores.get(classes, 0.0))
    return kmeans_classes(latent, classes, config.seed)


def _known_labels(trained: Run, config: EmbedConfig) -> list[Labelling]:
    """Return what is known of the particles and only colours the figure; empty if nothing is."""
    if config.labels is not None:
        label = np.full(len(trained.particles), -1)
        index, given = read_classes(config.labels, len(label))
        label[index] = given
        return [Labelling("given label", label)]
    if config.truth is None:
        return []
    truth = open_truth(config.truth)
    if truth.labels is None:
        raise ConfigurationError(
            f"{config.truth}: the truth of a {truth.kind} set has no labels; expected one of a mixture "
            "or an assembly. Leave --truth out."
        )
    return [Labelling("true label", truth.labels[places_in_truth(trained.particles, truth)])]


def _embed_gaussians(
    trained: Run, latent: np.ndarray, config: EmbedConfig, progress: Callable[[float], None] | None
) -> EmbedResult:
    changes = measure_changes(
        trained,
        latent,
        config.feature or AUTO,
        config.batch_size,
        MEMORY if config.memory is None else config.memory,
        progress,
    )
    regions = find_regions(
        changes.similarity(),
        RegionConfig(feature=changes.feature, embedding=config.method, neighbours=config.neighbours, seed=config.seed),
    )
    LOGGER.info(
        "%s of %d Gaussians over %d particles: %d change, %d constant, %.1f%% of variance kept",
        changes.feature,
        len(regions.label),
        changes.count,
        np.sum(regions.label != 0),
        np.sum(regions.label == 0),
        100 * regions.explained,
    )
    table, figure = _paths(trained, "gaussians")
    shown = np.flatnonzero(np.isfinite(regions.embedding).all(axis=1))
    write_latent(table, shown, regions.embedding[shown])
    draw_gaussians(figure, regions.embedding, regions.label, axis=_axis(config.method))
    return EmbedResult(table, figure, regions.embedding)


def _paths(trained: Run, what: str) -> tuple[Path, Path]:
    return trained.folder / f"embed_{what}.txt", trained.folder / f"embed_{what}.png"


def _axis(method: str) -> str:
    return "UMAP" if method == "umap" else "PC"
