"""Figures of regions: in space, by how they change, how eps was chosen, and each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.analysis.density import EpsScan
from libhetero.analysis.regions import Regions
from libhetero.files import remove_figures
from libhetero.pipelines.regions.mixtures import ClassMixtures
from libhetero.pipelines.regions.particles import QUANTITY, RegionClasses
from libhetero.records import Gaussians
from libhetero.report.embedding import draw_gaussians
from libhetero.report.eps import draw_eps
from libhetero.report.outline import Molecule
from libhetero.report.region import RegionView, draw_region
from libhetero.report.regions import draw_regions_in_space
from libhetero.report.style import axis_names


def draw_all_regions(folder: Path, neutral: Gaussians, regions: Regions, method: str) -> list[Path]:
    """Draw regions.png, regions_embedding.png and, where eps was scanned, regions_eps.png.

    Parameters
    ----------
    folder : of the run.
    neutral : all Gaussians.
    regions : as they are reported.
    method : of the plane, "umap" or "pca".
    """
    files = [folder / "regions.png", folder / "regions_embedding.png"]
    draw_regions_in_space(files[0], _molecule(neutral), regions.label)
    draw_gaussians(files[1], regions.embedding, regions.label, axis_names(method))
    if isinstance(regions.scan, EpsScan):
        scan = regions.scan
        files.append(folder / "regions_eps.png")
        draw_eps(files[-1], scan, regions.eps)
    return files


def _molecule(neutral: Gaussians) -> Molecule:
    return Molecule(*(np.asarray(x) for x in (neutral.position, neutral.amplitude, neutral.sigma)))


def draw_each_region(
    folder: Path,
    neutral: Gaussians,
    regions: Regions,
    classes: Sequence[RegionClasses],
    mixtures: Sequence[ClassMixtures],
) -> list[Path]:
    """Draw region_NN.png of each region, and of all regions how much of them particles have."""
    remove_region_figures(folder)
    molecule = _molecule(neutral)
    paths = [folder / "regions_presence.png"] if classes else []
    for item, mixture in zip(classes, mixtures, strict=True):
        paths.append(folder / f"region_{item.region:02d}.png")
        draw_region(paths[-1], _view(item, mixture, molecule.amplitude, regions.label == item.region), molecule)
    return paths


def _view(item: RegionClasses, mixture: ClassMixtures, amplitude: np.ndarray, member: np.ndarray) -> RegionView:
    """Return what is drawn of a region; coordinates of a motion in Å."""
    what = f"{item.kind}, a continuum" if item.continuous else item.kind
    first, last = mixture.mean.take(0), mixture.mean.take(-1)
    return RegionView(
        number=item.region,
        title=f"region {item.region} ({member.sum()} Gaussians), {what}",
        coordinates=item.coordinates * (item.length or 1.0),
        names=_names(item),
        label=item.label,
        ends=item.shown if item.continuous else None,
        value=item.value,
        quantity=QUANTITY[item.kind],
        member=member,
        moved=last.position - first.position,
        gained=(last.amplitude - first.amplitude) / np.maximum(amplitude, np.median(amplitude) / 20),
    )


def _names(item: RegionClasses) -> tuple[str, str]:
    """Return the names of a region's first two coordinates, with what they explain and, of a motion, their unit."""
    unit = "" if item.length is None else ", Å"
    across, up = axis_names("pca", item.explained)
    return across + unit, up + unit


def remove_region_figures(folder: Path) -> None:
    """Remove the figures that an earlier segmentation left of single regions."""
    remove_figures(folder, "region_[0-9]*.png")
