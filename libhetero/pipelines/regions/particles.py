"""Particles by the outputs of one region: coordinates, classes where they are told apart, and their lists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.classes import hdbscan_classes, significant_columns
from libhetero.analysis.gaussian_features import columns_of, region_basis
from libhetero.analysis.latent_classes import classes_of
from libhetero.analysis.regions import Regions
from libhetero.files import remove_figures, remove_stale
from libhetero.io import write_latent
from libhetero.pipelines.decoding.class_files import write_class_lists, write_classes, write_probabilities
from libhetero.pipelines.decoding.gaussians import Changes, measure_changes, neutral_gaussians, stream_changes
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.report.presence import draw_presence
from libhetero.telling.waiting import working
from libhetero.tilts import mean_of_images, one_image_each

LOGGER = logging.getLogger(__name__)
PRESENCE = "regions_presence.txt"
QUANTITY = {
    "amplitude": "relative amplitude, mean of the region",
    "motion": "displacement along PC 1 (Å)",
    "both": "relative amplitude, mean of the region",
}
MOST_CLASSES = 8  # of a region, where they are found
END = 0.2  # of the particles at each end of a continuum, whose means show what changes along it


@dataclass(frozen=True, eq=False)
class RegionClasses:
    """Particles as one region sees them.

    Parameters
    ----------
    region : its number, from 1.
    kind : of change, "amplitude", "motion" or "both".
    coordinates : (particles, components), by falling variance.
    value : (particles,) mean relative amplitude of the region; of a motion the displacement along the first
        coordinate, Å, the root mean square over the region's Gaussians with the coordinate's sign.
    label : (particles,) class, from the lowest first coordinate; -1 for none, 0 for all of a continuum.
    deviation : (particles, components), standard deviation of the coordinates; None where it is not known.
    probability : (particles,) of the class being the particle's; None where it is not known.
    explained : part of the variance of the region's changes that each coordinate holds.
    length : Å of displacement, as above, that a coordinate of 1 means; None where it is no motion.
    probabilities : of every class; None where they are not told apart, or not known.
    """

    region: int
    kind: str
    coordinates: np.ndarray
    value: np.ndarray
    label: np.ndarray
    deviation: np.ndarray | None = None
    probability: np.ndarray | None = None
    explained: np.ndarray | None = None
    length: float | None = None
    probabilities: np.ndarray | None = None

    @property
    def continuous(self) -> bool:
        """Whether the particles are not told apart."""
        return int(self.label.max(initial=-1)) < 1

    @cached_property
    def shown(self) -> Int[np.ndarray, "particles"]:
        """Classes whose means show what changes: the particles' own; of a continuum its low (0) and high end (1)."""
        if not self.continuous:
            return self.label
        place = np.argsort(np.argsort(self.coordinates[:, 0], kind="stable"), kind="stable")
        few = max(1, int(END * len(place)))
        return np.where(place < few, 0, np.where(place >= len(place) - few, 1, -1))

    def name(self, label: int) -> str:
        """Return what one of the classes shown is called in files."""
        return ("low", "high")[label] if self.continuous else f"class_{label:02d}"


def classify_regions(
    run: Run,
    latent: np.ndarray,
    changes: Changes,
    regions: Regions,
    kinds: Sequence[str],
    components: int,
    classes: int | None,
    method: str,
    batch_size: int,
    seed: int,
    deviation: Float[np.ndarray, "particles latent"] | None = None,
    progress: Callable[[float], None] | None = None,
    *,
    weight: Float[np.ndarray, "particles"] | None = None,
    rows: Int[np.ndarray, "particles"] | None = None,
) -> list[RegionClasses]:
    """Decode particles once more and sort them by the outputs of each region.

    Parameters
    ----------
    latent : of the particles.
    changes, regions : of the Gaussians.
    kinds : of change, of each region.
    components : coordinates kept of each region.
    classes : how many; None for those that are told apart.
    method : "kmeans" or "hdbscan".
    batch_size : particles decoded at once.
    seed : of the classes.
    deviation : standard deviations of the latents; None where they are not known.
    progress : called with the fraction done.
    weight : how far each particle counts, as `particle_weights` gives it; None for all alike.
    rows : places of these particles in the run; None for all of its. Images of one particle count once.
    """
    bases = [
        region_basis(changes.covariance, regions.members(place + 1), changes.feature, components, kind)
        for place, kind in enumerate(kinds)
    ]
    if not bases:
        return []
    told = [
        columns_of(regions.members(place + 1), changes.feature, "motion" if kind == "motion" else "amplitude")
        for place, kind in enumerate(kinds)
    ]
    first, of = one_image_each(run.particles if rows is None else run.particles.take(rows))
    latent, deviation = latent[first], None if deviation is None else deviation[first]
    weight = None if weight is None else mean_of_images(weight, of)
    coordinates, values = _projected(run, latent, changes, bases, told, batch_size, progress)
    found = []
    for place, kind in enumerate(kinds):
        points = coordinates[place]
        errors = None if deviation is None else _carried(points, latent, deviation)
        with working(LOGGER.info, f"region {place + 1}: classes of {len(points)} particles"):
            label, probability, probabilities = _sorted(points, errors, weight, classes, method, seed, place + 1)
        columns, basis = bases[place]
        explained = np.var(points, axis=0) / max(float(np.diag(changes.covariance)[columns].sum()), 1e-30)
        length = _length(run, len(columns) // 3) if kind == "motion" else None
        telling = values[place] if length is None else length * points[:, 0]
        of_particles = (errors, probability, probabilities)
        errors, probability, probabilities = (None if one is None else one[of] for one in of_particles)
        found.append(
            RegionClasses(
                place + 1,
                kind,
                points[of],
                telling[of],
                label[of],
                errors,
                probability,
                explained,
                length,
                probabilities,
            )
        )
    return found


def region_places(
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    label: Int[np.ndarray, "gaussians"],
    batch_size: int,
    memory: float,
) -> list[Float[np.ndarray, "particles"]]:
    """Return the first coordinate of every particle by the outputs of each region, 1, 2 …, that Gaussians are in.

    The coordinate is the first principal component of all changes of the region's Gaussians over the particles.

    Parameters
    ----------
    latent : of every particle.
    label : region of each Gaussian, as `read_labels` gives it.
    batch_size : particles decoded at once.
    memory : GiB that the covariance of all Gaussians may take.
    """
    changes = measure_changes(run, latent, "auto", batch_size, memory)
    regions = [np.flatnonzero(label == region) for region in range(1, int(label.max()) + 1)]
    bases = [region_basis(changes.covariance, members, changes.feature, 1) for members in regions]
    coordinates, _ = _projected(run, latent, changes, bases, [columns for columns, _ in bases], batch_size)
    return [points[:, 0] for points in coordinates]


def _projected(
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    changes: Changes,
    bases: Sequence[tuple[np.ndarray, np.ndarray]],
    told: Sequence[Int[np.ndarray, "_"]],
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Decode all particles and return, for each region, their coordinates and the means of some of its outputs.

    Parameters
    ----------
    bases : columns of the changes, and the directions among them, of each region.
    told : columns whose mean is returned, of each region.
    """
    coordinates: list[list[np.ndarray]] = [[] for _ in bases]
    values: list[list[np.ndarray]] = [[] for _ in bases]
    for block in stream_changes(run, latent, changes.feature, batch_size, progress):
        for place, (columns, basis) in enumerate(bases):
            coordinates[place].append((block[:, columns] - changes.mean[columns]) @ basis)
            values[place].append(block[:, told[place]].mean(axis=1))
    return [np.concatenate(one) for one in coordinates], [np.concatenate(one) for one in values]


def _length(run: Run, gaussians: int) -> float:
    """Return the Å that a coordinate of 1 moves the Gaussians of a region by, root mean square over them.

    A coordinate q moves the N Gaussians by q b, in units of the median width, with b of length 1.
    """
    return float(np.median(np.asarray(neutral_gaussians(run).sigma))) / float(np.sqrt(max(gaussians, 1)))


def _carried(points: np.ndarray, latent: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the standard deviations of coordinates, as far as they are linear in the latents.

    With coordinates = latent @ B in least squares, variances are deviation² @ B².
    """
    slope = np.linalg.lstsq(latent - latent.mean(axis=0), points - points.mean(axis=0), rcond=None)[0]
    return np.sqrt(np.square(deviation) @ np.square(slope))


def _sorted(
    points: np.ndarray,
    deviation: np.ndarray | None,
    weight: np.ndarray | None,
    classes: int | None,
    method: str,
    seed: int,
    region: int,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the class of each particle, and its probability and those of all classes where these are known."""
    points = significant_columns(points)
    if method == "hdbscan":
        label = hdbscan_classes(points, min_size=max(10, len(points) // 100))
        LOGGER.info("region %d: HDBSCAN finds %d classes", region, label.max(initial=-1) + 1)
        return label, None, None
    errors = None if deviation is None else deviation[:, : points.shape[1]]
    found = classes_of(points, errors, classes, most=MOST_CLASSES, seed=seed, weight=weight)
    if found.count > 1:
        LOGGER.info("region %d: %d classes", region, found.count)
    else:
        LOGGER.info("region %d: continuous; its particles are not told apart into classes", region)
    return found.label, found.probability, found.probabilities


def write_region_classes(run: Run, found: list[RegionClasses], rows: Int[np.ndarray, "particles"]) -> list[Path]:
    """Write embeddings, classes and particle lists of each region; return what to look at.

    For region NN: embed_region_NN.txt (and embed_region_NN_sd.txt where standard deviations are known); where its
    particles are told apart classes_region_NN.txt, of a mixture probabilities_region_NN.txt, and for each class MM
    region_NN_class_MM.lst and .star, and .cs where they came from one. regions_presence.txt holds the `value` of each
    particle, a column a region. What an earlier segmentation left of them goes.

    Parameters
    ----------
    rows : places in the run of the particles that were sorted; the others are in no class.
    """
    folder = run.folder
    remove_region_classes(folder)
    paths = []
    for item in found:
        name = f"region_{item.region:02d}"
        write_latent(folder / f"embed_{name}.txt", rows, item.coordinates)
        if item.deviation is not None:
            write_latent(folder / f"embed_{name}_sd.txt", rows, item.deviation)
        if item.continuous:
            continue
        paths.append(folder / f"classes_{name}.txt")
        write_classes(paths[-1], rows, item.label, list_digest(run.particles), item.probability)
        if item.probabilities is not None:
            paths.append(folder / f"probabilities_{name}.txt")
            every = np.zeros((len(run.particles), item.probabilities.shape[1]))
            every[rows] = item.probabilities
            write_probabilities(paths[-1], every, list_digest(run.particles))
        whole = np.full(len(run.particles), -1)
        whole[rows] = item.label
        write_class_lists(run, whole, f"{name}_class")
    if found:
        paths.append(folder / "regions_presence.png")
        values, labels = [item.value for item in found], [item.label for item in found]
        write_latent(folder / PRESENCE, rows, np.stack(values, axis=1))
        draw_presence(paths[-1], values, labels, [QUANTITY[item.kind] for item in found])
    return paths


def remove_region_classes(folder: Path) -> None:
    """Remove what an earlier segmentation left of the particles by regions."""
    remove_stale(
        folder,
        "region_*_class_*.lst",
        "region_*_class_*.star",
        "region_*_class_*.cs",
        "classes_region_*.txt",
        "probabilities_region_*.txt",
        "embed_region_*.txt",
        PRESENCE,
    )
    remove_figures(folder, "regions_presence.png")
