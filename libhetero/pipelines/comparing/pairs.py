"""Two runs at a time: the particles that they share, and how far classes, latents, regions and volumes agree."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from libhetero.analysis.agreement import (
    canonical_correlations,
    chance_correlation,
    predicted_variance,
    shared_neighbours,
)
from libhetero.analysis.region_masks import typical_spacing
from libhetero.errors import DataError
from libhetero.io import read_volume
from libhetero.metrics.fsc import resolution
from libhetero.metrics.labels import best_matching, cross_table, label_agreement
from libhetero.metrics.regions import matched_regions
from libhetero.metrics.volume_matching import fsc_in_sphere, in_sphere, match_by_fsc
from libhetero.pipelines.comparing.record import (
    ClassAgreement,
    Comparison,
    LatentAgreement,
    PairRecord,
    RegionAgreement,
    VolumeMatch,
    verdict_of,
)
from libhetero.pipelines.comparing.subjects import Regioned, Subject
from libhetero.pipelines.listing.identity import ONE_LIST, Images, image_numbers, places_in
from libhetero.telling.waiting import working
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)
LARGEST, NEAREST = 20_000, 5_000  # particles whose latents, and whose neighbours, are compared
NEAR = 2.0  # times the distance between neighbouring Gaussians, within which one has a partner
HALF = 0.5  # of the FSC: both volumes are without the noise of images
PARTS = ("classes", "latents", "regions", "volumes")
Places = Int[np.ndarray, "shared"]
Pair = tuple[int, int]
Curves = dict[Pair, dict[str, Float[np.ndarray, "shells"]]]


def shared_particles(subjects: Sequence[Subject]) -> dict[Pair, tuple[Places, Places]]:
    """Return the places of the particles that each two runs share, in the one and in the other; of tilt series, of
    one image each.

    Raises
    ------
    DataError : if two runs share none.
    """
    numbers = image_numbers([Images.of(one.run.particles) for one in subjects])
    shared = {}
    for first, second in combinations(range(len(subjects)), 2):
        names = (subjects[first].name, subjects[second].name)
        place = places_in(numbers[first], numbers[second], names, ONE_LIST)
        here = np.flatnonzero(place >= 0)
        if not len(here):
            stacks = [one.run.particles.files[0] if one.run.particles.files else "none" for one in subjects]
            raise DataError(
                f"{names[0]} and {names[1]}: no particle of one is in the other (stacks as {stacks[first]} and as "
                f"{stacks[second]}); expected runs that share particles. Compare runs of one set, or of lists of it."
            )
        sets = (subjects[first].run.particles, subjects[second].run.particles)
        shared[first, second] = counted_once((here, place[here]), (sets[0].group, sets[1].group))
        sizes = (len(shared[first, second][0]), sets[0].distinct, sets[1].distinct)
        LOGGER.info("%s and %s share %d particles (of %d and %d)", *names, *sizes)
    return shared


def counted_once(
    places: tuple[Int[np.ndarray, "images"], Int[np.ndarray, "images"]],
    groups: tuple[Int[np.ndarray, "_"] | None, Int[np.ndarray, "_"] | None],
) -> tuple[Places, Places]:
    """Return the places of images that two runs share, the first of each particle alone.

    What the images of a particle have in common, such as its latent, would agree with itself once more with each.

    Parameters
    ----------
    places : of the images in either run.
    groups : particle that each image of either run shows; None where each shows its own.
    """
    told = [group[rows] for group, rows in zip(groups, places, strict=True) if group is not None]
    if not told:
        return places
    kept = np.sort(np.unique(told[0], return_index=True)[1])
    return places[0][kept], places[1][kept]


def compare_all(
    subjects: Sequence[Subject], shared: dict[Pair, tuple[Places, Places]], seed: int, progress: Callable[[float], None]
) -> tuple[Comparison, Curves]:
    """Return how far each two runs agree, and the FSCs of matched volumes, by pair and by their names.

    Parameters
    ----------
    subjects : the runs, their latents read.
    shared : as `shared_particles` gives it.
    seed : of folds, of particles drawn and of chance.
    progress : called with the fraction done.
    """
    records, curves = [], {}
    for number, ((first, second), places) in enumerate(shared.items()):
        record, curves[first, second] = _compare(subjects[first], subjects[second], places, seed)
        records.append(record)
        progress((number + 1) / len(shared))
    runs = [one.run for one in subjects]
    found = Comparison(
        tuple(one.name for one in subjects),
        tuple(one.config.family for one in runs),
        tuple(one.particles.distinct for one in runs),
        tuple(records),
        tuple(str(one.volumes[0].parent) if one.volumes else "" for one in subjects),
    )
    return found, curves


def _compare(
    first: Subject, second: Subject, places: tuple[Places, Places], seed: int
) -> tuple[PairRecord, dict[str, Float[np.ndarray, "shells"]]]:
    missing = {part: [one.missing[part] for one in (first, second) if part in one.missing] for part in PARTS}
    classes = latents = regions = None
    volumes: tuple[VolumeMatch, ...] = ()
    curves: dict[str, Float[np.ndarray, "shells"]] = {}
    if first.label is not None and second.label is not None:
        classes = class_agreement(first.label[places[0]], second.label[places[1]])
        if classes is None:
            missing["classes"] = ["no particle of both is in a class of both; e2hype_embed.py sorts them anew."]
    if not missing["latents"] and first.latent is not None and second.latent is not None:
        latents = latent_agreement(first.latent[places[0]], second.latent[places[1]], seed)
    if first.gaussians is not None and second.gaussians is not None:
        regions = region_agreement(first.gaussians, second.gaussians)
    if first.volumes and second.volumes and first.grid is not None:
        with working(LOGGER.info, f"matching of {len(first.volumes)} and {len(second.volumes)} volumes"):
            volumes, curves = volume_agreement(first.volumes, second.volumes, first.grid)
    left_out = tuple(
        f"{part.capitalize()} are left out: {' '.join(dict.fromkeys(why))}" for part, why in missing.items() if why
    )
    names = (first.name, second.name)
    verdict = verdict_of(names, len(places[0]), classes, latents, regions, volumes)
    return PairRecord(names, len(places[0]), classes, latents, regions, volumes, left_out, verdict), curves


def class_agreement(first: Int[np.ndarray, "particles"], second: Int[np.ndarray, "particles"]) -> ClassAgreement | None:
    """Return how far two sortings of the same particles agree; None where none is in a class of both.

    Parameters
    ----------
    first, second : class of each particle, -1 for none.
    """
    inside = (first >= 0) & (second >= 0)
    if not inside.any():
        return None
    first, second = first[inside], second[inside]
    agreement, table = label_agreement(first, second), cross_table(first, second)
    names, others = np.unique(first), np.unique(second)
    rows, columns = best_matching(table)
    largest = np.argsort(-table[rows, columns], kind="stable")
    rows, columns = rows[largest], columns[largest]
    row_order, column_order = (
        np.concatenate([matched, np.setdiff1d(np.arange(count), matched)])
        for matched, count in ((rows, len(names)), (columns, len(others)))
    )
    ordered = table[np.ix_(row_order, column_order)]
    return ClassAgreement(
        len(first),
        (tuple(names[row_order].tolist()), tuple(others[column_order].tolist())),
        tuple(tuple(row) for row in ordered.tolist()),
        tuple(zip(names[rows].tolist(), others[columns].tolist(), strict=True)),
        agreement["ari"],
        agreement["ami"],
        float(table[rows, columns].sum() / len(first)),
    )


def latent_agreement(
    first: Float[np.ndarray, "particles columns"], second: Float[np.ndarray, "particles others"], seed: int
) -> LatentAgreement:
    """Return how far two latents of the same particles agree, on at most 20,000 of these.

    Parameters
    ----------
    first, second : latents.
    seed : of particles drawn, of folds and of chance.
    """
    chosen = sample_indices(len(first), LARGEST, seed)
    few = sample_indices(len(first), NEAREST, seed)
    one, other = np.asarray(first, np.float64)[chosen], np.asarray(second, np.float64)[chosen]
    canonical, chance = canonical_correlations(one, other, seed), chance_correlation(one, other, seed)
    neighbours, by_chance = shared_neighbours(first[few], second[few])
    return LatentAgreement(
        len(chosen),
        (first.shape[1], second.shape[1]),
        tuple(float(value) for value in canonical),
        chance,
        int(np.count_nonzero(canonical > chance)),
        (predicted_variance(one, other, seed), predicted_variance(other, one, seed)),
        neighbours,
        by_chance,
    )


def region_agreement(first: Regioned, second: Regioned) -> RegionAgreement:
    """Return how far the regions of two clouds of Gaussians agree.

    Each Gaussian is taken with the nearest of the other cloud, in both directions; one that is farther from it than
    twice the distance between neighbours in its own cloud has no partner, and does not count.

    Parameters
    ----------
    first, second : Gaussians of either run, with the region of each; 0 the core, -1 none.
    """
    position, label = (first.position, second.position), (first.region, second.region)
    ari, paired, distances, matches = [], [], [], []
    for here, there in ((0, 1), (1, 0)):
        distance, nearest = cKDTree(position[there]).query(position[here])
        near = distance <= NEAR * typical_spacing(position[here])
        own, others = label[here], label[there][nearest]
        # 1 is added, as -1 would be no label: Gaussians in no region are a group as well.
        ari.append(label_agreement(1 + own[near], 1 + others[near])["ari"] if near.any() else 0.0)
        paired.append(float(near.mean()))
        distances.append(distance)
        matches.append(matched_regions(own, np.where(near, others, -1)))
    match, iou = matches[0]
    counts = tuple(int(np.unique(one[one > 0]).size) for one in label)
    return RegionAgreement(
        (len(position[0]), len(position[1])),
        (paired[0], paired[1]),
        float(np.median(np.concatenate(distances))),
        (counts[0], counts[1]),
        float(np.mean(ari)),
        tuple((1 + row, int(one), float(iou[row])) for row, one in enumerate(match)),
    )


def volume_agreement(
    first: Sequence[Path], second: Sequence[Path], grid: tuple[int, float]
) -> tuple[tuple[VolumeMatch, ...], dict[str, Float[np.ndarray, "shells"]]]:
    """Return which volumes of two runs match, one to one, and the FSC of each match.

    Parameters
    ----------
    first, second : maps in one box, of one pixel size.
    grid : box (voxels) and pixel size (Å).

    Raises
    ------
    DataError : if a map is in another box than the first.
    """
    box, pixel_size = grid
    rows, columns, area = match_by_fsc(lambda path: _volume(path, box), first, second)
    found, curves = [], {}
    for row, column in zip(rows, columns, strict=True):
        one, other = first[row], second[column]
        fsc = fsc_in_sphere(in_sphere(_volume(one, box)), in_sphere(_volume(other, box)))
        others = np.delete(area[row], column)
        found.append(
            VolumeMatch(
                (one.name, other.name),
                float(area[row, column]),
                float(others.max()) if len(others) else None,
                resolution(fsc, HALF, pixel_size),
                bool(np.all(fsc >= HALF)),
            )
        )
        curves[f"{one.stem} and {other.stem}"] = fsc
    return tuple(found), curves


def _volume(path: Path, box: int) -> Float[np.ndarray, "n n n"]:
    volume = read_volume(path)[0]
    if volume.shape != (box,) * 3:
        raise DataError(f"{path}: a map of {volume.shape} voxels; expected {box} on each side, as of the others.")
    return volume
