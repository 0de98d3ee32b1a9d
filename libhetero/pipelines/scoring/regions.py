"""Regions of a run, their classes and their embeddings of particles, against the true pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer

from libhetero.analysis.regions import CORE, UNASSIGNED
from libhetero.errors import DataError
from libhetero.io import read_latent
from libhetero.io.indices import check_indices
from libhetero.io.tables import read_numbers
from libhetero.metrics.calibration import right_where_sure
from libhetero.metrics.motion import rank_correlation
from libhetero.metrics.presence import NO_CLASS, UNMATCHED, rightly_called
from libhetero.metrics.regions import RECOVERED, region_agreement
from libhetero.pipelines.decoding.class_files import read_classes
from libhetero.pipelines.regions.record import read_record
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.scoring.truth import Truth
from libhetero.records import ParticleSet

REGIONS = "x y z amp sigma and region"
CLASSES = "particle index, class and its probability"


def read_regions(folder: Path, gaussians: int) -> Int[np.ndarray, "gaussians"] | None:
    """Return the region of every Gaussian from regions.txt (its last column); None without.

    Where segmentation found no region (regions.json), all are of the core.

    Raises
    ------
    DataError : if the file holds another number of Gaussians than the model, or is missing beside a regions.json that
        has regions.
    """
    path = Path(folder) / "regions.txt"
    if not path.exists():
        record = read_record(folder)
        if record is not None and record.count:
            raise DataError(
                f"{path} is missing; expected {record.count} region(s), as in regions.json. Segment this run again."
            )
        return None if record is None else np.full(gaussians, CORE)
    region = read_numbers(path, REGIONS, least=6, most=6, whole=(5,))[:, -1].astype(np.int64)
    if region.min() < UNASSIGNED:
        raise DataError(f"{path}: region {region.min()}; expected {UNASSIGNED} or more. Segment this run again.")
    if len(region) != gaussians:
        raise DataError(f"{path}: {len(region)} Gaussians; expected the model's {gaussians}. Segment this run again.")
    return region


def optional_pieces(truth: Truth) -> np.ndarray:
    """Return which pieces are sometimes absent; (pieces,) bool."""
    if truth.states is None:
        return np.zeros(int(truth.known(truth.piece, "pieces").max()) + 1, bool)
    return np.any(truth.states == 0, axis=0)


def moving_pieces(truth: Truth) -> np.ndarray:
    """Return which pieces turn; (pieces,) bool."""
    if truth.angles is None:
        return np.zeros_like(optional_pieces(truth))
    return np.ptp(truth.angles, axis=0) > 0


def changing_pieces(truth: Truth) -> np.ndarray:
    """Return which pieces are sometimes absent, or move; (pieces,) bool."""
    return optional_pieces(truth) | moving_pieces(truth)


def score_regions(region: np.ndarray, piece: np.ndarray, truth: Truth) -> dict[str, Any]:
    """Return the agreement of regions with the pieces; region 0 is the constant core.

    "extra" are regions that no piece is recovered by, "core" those of which most Gaussians belong to pieces that never
    change: both are found where nothing is.

    Parameters
    ----------
    region, piece : (G,) of every Gaussian.
    """
    changing = changing_pieces(truth)
    scores = region_agreement(region, piece, changing, CORE)
    names = [name for name in np.unique(region) if name not in (CORE, UNASSIGNED)]
    scores["extra"] = len(names) - int(np.count_nonzero(np.asarray(scores["iou"])[changing] >= RECOVERED))
    scores["core"] = sum(bool(np.mean(changing[piece[region == name]]) < 0.5) for name in names)
    return scores


def score_kinds(folder: Path, scores: dict[str, Any], truth: Truth) -> dict[str, Any] | None:
    """Return how many of the recovered pieces have a region of the right kind: amplitude, motion or both.

    None where the run has no regions.json, which says it.

    Parameters
    ----------
    scores : from `score_regions`.
    """
    record = read_record(folder)
    if record is None:
        return None
    named = {one.region: one.kind for one in record.regions}
    optional, moving = optional_pieces(truth), moving_pieces(truth)
    pieces = [k for k in np.flatnonzero(optional | moving) if scores["iou"][k] >= RECOVERED]
    kinds = [named.get(scores["match"][k]) for k in pieces]
    right = [kind == _kind(bool(optional[k]), bool(moving[k])) for kind, k in zip(kinds, pieces, strict=True)]
    return {"right": sum(right), "of": len(pieces), "kinds": [named[name] for name in sorted(named)]}


def _kind(optional: bool, moving: bool) -> str:
    if optional and moving:
        return "both"
    return "motion" if moving else "amplitude"


def score_classes(
    folder: Path,
    region: np.ndarray,
    match: list[int],
    relative: Float[np.ndarray, "particles gaussians"],
    chosen: Int[np.ndarray, "particles"],
    particles: ParticleSet,
    states: Integer[np.ndarray, "particles pieces"],
    truth: Truth,
) -> dict[str, Any]:
    """Return how rightly each region's classes say whether its piece is there.

    Parameters
    ----------
    folder : with classes_region_NN.txt.
    region : (G,) of every Gaussian.
    match : region of each piece, -1 for none, from `score_regions`.
    relative : decoded ÷ reference amplitude of some particles.
    chosen : their places in the run.
    particles : all of the run.
    states : of those particles.

    Returns
    -------
    "accuracy", the mean over optional pieces, and "pieces", each one's; 0.5 for a piece without region, or whose region
    does not tell particles apart. "sure", of the pairs of particle and region whose class has a probability of at least
    0.9, how many and how many rightly, where the files state probabilities.
    """
    record = read_record(folder)
    continuous = set() if record is None else {one.region for one in record.regions if one.continuous}
    segmented = len(particles) if record is None else record.particles
    found, said, rights = [], [], []
    for piece in np.flatnonzero(optional_pieces(truth)):
        label = match[piece]
        if label == UNASSIGNED:
            found.append(UNMATCHED)
            continue
        path = Path(folder) / f"classes_region_{label:02d}.txt"
        if label in continuous:
            found.append(UNMATCHED)
            continue
        index, label_of = _table(path, lambda path: read_classes(path, len(particles), list_digest(particles)))
        sorted_too = _named(path, index, chosen, segmented)
        classes = _of_particles(path, index, label_of, chosen, len(particles), NO_CLASS)[sorted_too]
        amplitude = relative[:, region == label].mean(axis=1)[sorted_too]
        right = rightly_called(amplitude, classes, states[sorted_too, piece])
        found.append(float(right.mean()))
        probability = class_probabilities(path)
        if probability is not None:
            said.append(_of_particles(path, index, probability, chosen, len(particles), 0.0)[sorted_too])
            rights.append(right)
    scores = {"accuracy": float(np.mean(found)) if found else float("nan"), "pieces": found}
    if said:
        scores["sure"] = right_where_sure(np.concatenate(said), np.concatenate(rights))
    return scores


def class_probabilities(path: Path) -> np.ndarray | None:
    """Return the third column of a table of classes, how sure each is; None where there is none."""
    table = read_numbers(path, CLASSES, least=2, most=3, whole=(0, 1))
    return table[:, 2] if table.shape[1] == 3 else None


def score_angles(
    folder: Path,
    match: list[int],
    chosen: Int[np.ndarray, "particles"],
    count: int,
    angles: Float[np.ndarray, "particles pieces"],
    truth: Truth,
) -> dict[str, Any]:
    """Return how well the first coordinate of each region's embedding follows its piece's angle.

    Parameters
    ----------
    folder : with embed_region_NN.txt.
    match : region of each piece, -1 for none, from `score_regions`.
    chosen : places of some particles in the run.
    count : all of the run.
    angles : of those particles, radians.

    Returns
    -------
    "pieces", |ρ| of Spearman of each moving piece, 0 for one without region; "least", the least of them.
    """
    record, found = read_record(folder), []
    segmented = count if record is None else record.particles
    for piece in np.flatnonzero(moving_pieces(truth)):
        label = match[piece]
        if label == UNASSIGNED:
            found.append(0.0)
            continue
        path = Path(folder) / f"embed_region_{label:02d}.txt"
        index, coordinates = _table(path, read_latent)
        placed = _named(path, index, chosen, segmented)
        first = _of_particles(path, index, coordinates[:, 0], chosen, count, 0.0)[placed]
        found.append(rank_correlation(first, angles[placed, piece]))
    return {"least": min(found, default=float("nan")), "pieces": found}


def _table(path: Path, read: Any) -> Any:
    if not path.exists():
        raise DataError(f"{path}: no such file, though regions.txt has this region. Segment this run again.")
    return read(path)


def _named(path: Path, index: np.ndarray, chosen: np.ndarray, sorted_ones: int) -> np.ndarray:
    """Return which of the chosen particles a file names: all, but for a segmentation of a part of the run.

    Parameters
    ----------
    index : particles that it names.
    chosen : places of some particles in the run.
    sorted_ones : particles that were segmented.

    Raises
    ------
    DataError : if it names others than those, or none of the chosen.
    """
    named = np.isin(chosen, index)
    if len(index) != sorted_ones or not named.any():
        raise DataError(
            f"{path}: names {len(index)} particles; expected those of the run that were segmented, {sorted_ones}, some "
            "of the scored ones among them. Segment this run again."
        )
    return named


def _of_particles(
    path: Path, index: np.ndarray, value: np.ndarray, chosen: np.ndarray, count: int, absent: Any
) -> np.ndarray:
    """Return one value for each chosen particle, `absent` for those the file does not name."""
    values = np.full(count, absent, np.asarray(value).dtype)
    values[check_indices(index, count, str(path))] = value
    return values[chosen]
