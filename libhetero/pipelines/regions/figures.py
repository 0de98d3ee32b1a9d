"""Figures of regions: in space, by how they change, how eps was chosen, and each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.analysis.density import EpsScan
from libhetero.analysis.regions import Regions
from libhetero.files import remove_stale
from libhetero.pipelines.regions.mixtures import ClassMixtures
from libhetero.pipelines.regions.particles import QUANTITY, RegionClasses
from libhetero.records import Gaussians
from libhetero.report.embedding import draw_gaussians
from libhetero.report.eps import draw_eps
from libhetero.report.region import draw_region
from libhetero.report.regions import draw_regions_in_space


def draw_all_regions(folder: Path, position: np.ndarray, regions: Regions) -> list[Path]:
    """Draw regions.png, regions_embedding.png and, where eps was scanned, regions_eps.png."""
    files = [folder / "regions.png", folder / "regions_embedding.png"]
    draw_regions_in_space(files[0], position, regions.label)
    draw_gaussians(files[1], regions.embedding, regions.label)
    if isinstance(regions.scan, EpsScan):
        scan = regions.scan
        files.append(folder / "regions_eps.png")
        draw_eps(files[-1], scan, regions.eps)
    return files


def draw_each_region(
    folder: Path,
    neutral: Gaussians,
    regions: Regions,
    classes: Sequence[RegionClasses],
    mixtures: Sequence[ClassMixtures],
) -> list[Path]:
    """Draw region_NN.png of each region, and of all regions how much of them particles have."""
    remove_figures(folder)
    position, amplitude = (np.asarray(x) for x in (neutral.position, neutral.amplitude))
    paths = [folder / "regions_presence.png"] if classes else []
    for item, mixture in zip(classes, mixtures, strict=True):
        first, last = mixture.mean.take(0), mixture.mean.take(-1)
        gained = (last.amplitude - first.amplitude) / np.maximum(amplitude, np.median(amplitude) / 20)
        paths.append(folder / f"region_{item.region:02d}.png")
        member = regions.label == item.region
        draw_region(
            paths[-1],
            f"region {item.region} ({member.sum()} Gaussians), {item.kind}{', continuous' if item.continuous else ''}",
            item.coordinates,
            item.label,
            item.value,
            QUANTITY[item.kind],
            position,
            member,
            last.position - first.position,
            gained,
        )
    return paths


def remove_figures(folder: Path) -> None:
    """Remove the figures that an earlier segmentation left of single regions."""
    remove_stale(folder, "region_[0-9]*.png")
