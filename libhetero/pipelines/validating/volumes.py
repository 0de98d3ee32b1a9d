"""Class volumes of two half-sets: how well their maps agree, and what each class has over the mean of all.

The particles of a class that are in one half-set give its mean latent under that half's model, which is decoded; those
of the other half give the other volume. Gaussian models of both halves start from one structure, so that their maps
agree in what does not change whatever the particles say: what a class has over the mean of all classes tells.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.agreement import correlation
from libhetero.analysis.classes import class_members
from libhetero.metrics.fsc import masked_fsc, resolution
from libhetero.pipelines.decoding.class_files import whole_classes
from libhetero.pipelines.decoding.latents import lifted_latents
from libhetero.pipelines.decoding.volumes import decoded_volumes
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.validating.halves import HalfModel
from libhetero.pipelines.validating.record import ClassVolume

LOGGER = logging.getLogger(__name__)
WHOLE, REGIONS = "classes_particles.txt", "classes_region_[0-9]*.txt"
MOST_CLASSES = 50  # of one table: the largest
FEWEST = 2  # particles of a class in each half-set
HALF_MAPS = 0.143

VOLUMES, DIFFERENCES = "volumes of each class", "what each class has over the mean"
Curves = dict[str, dict[str, Float[np.ndarray, " shells"]]]


def class_tables(run: Run) -> list[Path]:
    """Return the run's tables of classes, of particles as wholes and by each region."""
    return [*run.classes_folder.glob(WHOLE), *sorted(run.regions_folder.glob(REGIONS))]


def compare_classes(
    run: Run, halves: tuple[HalfModel, HalfModel], batch_size: int
) -> tuple[tuple[ClassVolume, ...], Curves]:
    """Return how far the half-sets agree on each class, and FSCs by its name: of both volumes, and of what differs.

    Parameters
    ----------
    run : with tables of classes.
    halves : the models of its half-sets.
    batch_size : particles encoded at once.
    """
    found: list[ClassVolume] = []
    curves: Curves = {VOLUMES: {}, DIFFERENCES: {}}
    for path in class_tables(run):
        members = _in_both(whole_classes(path, run.particles), halves)
        if not members:
            continue
        first, second = (
            _volumes(half, [pair[place] for pair in members.values()], batch_size, path)
            for place, half in enumerate(halves)
        )
        extra = [volumes - volumes.mean(axis=0) for volumes in (first, second)]
        for row, (label, pair) in enumerate(members.items()):
            name = f"{path.stem.removeprefix('classes_')} class {label:02d}"
            fsc = curves[VOLUMES][name] = masked_fsc(first[row], second[row])
            reached, alike = None, None
            if len(members) > 1:
                differing = curves[DIFFERENCES][name] = masked_fsc(extra[0][row], extra[1][row])
                reached = resolution(differing, HALF_MAPS, run.model.pixel_size)
                alike = correlation(extra[0][row].ravel(), extra[1][row].ravel())
            sizes = (len(pair[0]), len(pair[1]))
            alone = resolution(fsc, HALF_MAPS, run.model.pixel_size)
            found.append(ClassVolume(path.name, label, sizes, alone, reached, alike))
    return tuple(found), {title: panel for title, panel in curves.items() if panel}


def _in_both(
    label: Int[np.ndarray, " particles"], halves: tuple[HalfModel, HalfModel]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return the members of each class in each half-set, of the largest classes that have some in both."""
    inside = [np.isin(np.arange(len(label)), half.members) for half in halves]
    groups = class_members(label)
    largest = sorted(sorted(groups, key=lambda one: len(groups[one]), reverse=True)[:MOST_CLASSES])
    pairs = {one: (groups[one][inside[0][groups[one]]], groups[one][inside[1][groups[one]]]) for one in largest}
    return {one: pair for one, pair in pairs.items() if min(map(len, pair)) >= FEWEST}


def _volumes(
    half: HalfModel, members: list[Int[np.ndarray, "_"]], batch_size: int, path: Path
) -> Float[np.ndarray, "classes n n n"]:
    """Return the volume at the mean latent of each class under one half's model."""
    latent = half.latents(batch_size)
    points = np.stack([latent[inside].mean(axis=0) for inside in members]).astype(np.float32)
    model = half.whole.model
    whole = lifted_latents(half.whole, points, str(path), batch_size)
    return np.stack(list(_decoded(half.whole, whole, model.box_size, model.pixel_size)))


def _decoded(run: Run, latents: np.ndarray, box: int, pixel_size: float) -> Iterator[np.ndarray]:
    for volume, _ in decoded_volumes(run, latents, box, pixel_size):
        yield volume
