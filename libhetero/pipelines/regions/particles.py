"""Particles by the outputs of one region: coordinates, classes and their lists."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.classes import choose_classes, hdbscan_classes, kmeans_classes, significant_columns
from libhetero.analysis.gaussian_features import FEATURES, region_basis
from libhetero.analysis.regions import Regions
from libhetero.files import remove_stale
from libhetero.io import write_latent
from libhetero.pipelines.decoding.class_files import write_class_lists, write_classes
from libhetero.pipelines.decoding.gaussians import Changes, stream_changes
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.report.presence import draw_presence

LOGGER = logging.getLogger(__name__)
QUANTITY = {"amplitude": "relative amplitude", "motion": "displacement (sigma)", "both": "relative amplitude"}


@dataclass(frozen=True, eq=False)
class RegionClasses:
    """Particles as one region sees them.

    Parameters
    ----------
    region : its number, from 1.
    coordinates : (particles, components), by falling variance.
    value : (particles,) mean relative amplitude of the region, or its mean displacement in sigma.
    label : (particles,) class, from the lowest first coordinate; -1 for none.
    """

    region: int
    coordinates: np.ndarray
    value: np.ndarray
    label: np.ndarray


def classify_regions(
    run: Run,
    latent: np.ndarray,
    changes: Changes,
    regions: Regions,
    components: int,
    classes: int | None,
    method: str,
    batch_size: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> list[RegionClasses]:
    """Decode all particles once more and sort them by the outputs of each region.

    Parameters
    ----------
    latent : of every particle.
    changes, regions : of the Gaussians.
    components : coordinates kept of each region.
    classes : how many; None to choose.
    method : "kmeans" or "hdbscan".
    batch_size : particles decoded at once.
    seed : of k-means.
    progress : called with the fraction done.
    """
    bases = [
        region_basis(changes.covariance, regions.members(region), changes.feature, components)
        for region in range(1, regions.count + 1)
    ]
    if not bases:
        return []
    coordinates: list[list[np.ndarray]] = [[] for _ in bases]
    values: list[list[np.ndarray]] = [[] for _ in bases]
    for block in stream_changes(run, latent, changes.feature, batch_size, progress):
        for place, (columns, basis) in enumerate(bases):
            coordinates[place].append((block[:, columns] - changes.mean[columns]) @ basis)
            values[place].append(_summary(block[:, columns], changes.feature))
    found = []
    for place in range(len(bases)):
        points = np.concatenate(coordinates[place])
        label = _classify(points, classes, method, seed, place + 1)
        found.append(RegionClasses(place + 1, points, np.concatenate(values[place]), label))
    return found


def _summary(rows: np.ndarray, feature: str) -> np.ndarray:
    """Return one telling number a particle: mean relative amplitude, or mean displacement."""
    numbers = rows.reshape(len(rows), -1, FEATURES[feature])
    if feature == "motion":
        return np.linalg.norm(numbers, axis=-1).mean(axis=1)
    return numbers[..., 0].mean(axis=1)


def _classify(points: np.ndarray, classes: int | None, method: str, seed: int, region: int) -> np.ndarray:
    points = significant_columns(points)
    if method == "hdbscan":
        label = hdbscan_classes(points, min_size=max(10, len(points) // 100))
        LOGGER.info("region %d: HDBSCAN finds %d classes", region, label.max(initial=-1) + 1)
        return label
    if classes is None:
        classes, scores = choose_classes(points, seed=seed)
        LOGGER.info("region %d: %d classes, silhouette %.2f", region, classes, scores.get(classes, 0.0))
    return kmeans_classes(points, classes, seed)


def write_region_classes(run: Run, found: list[RegionClasses], feature: str) -> list[Path]:
    """Write embeddings, classes and particle lists of each region; return what to look at.

    For region NN: embed_region_NN.txt, classes_region_NN.txt, and for each class MM
    region_NN_class_MM.lst and .star; what an earlier segmentation left of them goes.
    """
    folder = run.folder
    remove_stale(
        folder,
        "region_*_class_*.lst",
        "region_*_class_*.star",
        "classes_region_*.txt",
        "embed_region_*.txt",
        "regions_presence.png",
    )
    paths = []
    for item in found:
        name = f"region_{item.region:02d}"
        write_latent(folder / f"embed_{name}.txt", np.arange(len(item.label)), item.coordinates)
        paths.append(folder / f"classes_{name}.txt")
        write_classes(paths[-1], np.arange(len(item.label)), item.label, list_digest(run.particles))
        write_class_lists(run, item.label, f"{name}_class")
    if found:
        paths.append(folder / "regions_presence.png")
        draw_presence(paths[-1], [item.value for item in found], [item.label for item in found], QUANTITY[feature])
    return paths
