"""Regions: sets of Gaussians that change together over the particles.

Inner products of the changes → the constant core set aside → PCA by the Gram matrix → UMAP → DBSCAN
at a row of eps. Every outcome is refined (`region_refinement`: merged, split, dissolved, members
weighed again by the regions' own signals), and eps is the middle of the longest run that ends in as
many regions, as well separated before embedding as any. The outcome is checked against average
linkage of the correlations. Region 0 is the constant core, regions 1, 2, … the parts that change, the
largest first, and -1 what fits none.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis import constant, density
from libhetero.analysis.configuration import FEWEST, LEAST_NEIGHBOURS, MOST_NEIGHBOURS, RegionConfig
from libhetero.analysis.embedding import gram_coordinates, principal_plane, umap_plane, unit_rows
from libhetero.analysis.region_refinement import Refinement, refine_regions

CORE = 0
UNASSIGNED = -1
LEAST_SHARE = {"amplitude": 0.5, "motion": 0.1, "both": 0.1}  # half: most of it comes and goes with it
WEAK = {"amplitude": 0.4, "motion": 0.25, "both": 0.25}
COMPONENTS = 30  # most PCA coordinates given to UMAP
LEAST_SILHOUETTE = 0.3  # clusters that lie closer start as one region
ASSIGN = 0.5  # least correlation of a Gaussian with its region
LARGE = 0.8  # of the typical change of a region: what no region explains then is left unassigned


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions found, and what was chosen on the way.

    Parameters
    ----------
    label : 0 constant core, 1… regions from the largest, -1 unassigned.
    size : shared change of each Gaussian: part of its amplitude when present, or sigmas.
    threshold : the size of change that separates the core.
    embedding : coordinates of changing Gaussians; NaN for the core.
    explained : fraction of the changes' variance in the PCA coordinates kept.
    eps : DBSCAN's radius; None for HDBSCAN or one region.
    scan : DBSCAN at every eps tried; None if none was.
    clusters : what the clustering found before the refinement.
    score : mean silhouette of the regions' members; 0 for fewer than two.
    agreement : adjusted Rand index against average linkage with as many clusters; 1 below two.
    given : whether they were made by hand, and nothing was chosen.
    """

    label: Int[np.ndarray, "gaussians"]
    size: Float[np.ndarray, "gaussians"]
    threshold: float
    embedding: Float[np.ndarray, "gaussians 2"]
    explained: float
    eps: float | None
    scan: density.EpsScan | None
    clusters: int
    score: float
    agreement: float
    given: bool = False

    @property
    def count(self) -> int:
        """Number of regions that change, the core not counted."""
        return int(max(self.label.max(initial=0), 0))

    def members(self, region: int) -> Int[np.ndarray, "members"]:
        """Return the indices of the Gaussians of one region."""
        return np.flatnonzero(self.label == region)


def find_regions(similarity: Float[np.ndarray, "gaussians gaussians"], config: RegionConfig | None = None) -> Regions:
    """Group Gaussians that change together.

    Parameters
    ----------
    similarity : from `gaussian_features.similarity_of`.
    config : how.
    """
    count, config = len(similarity), config or RegionConfig()
    fewest = config.min_size or max(FEWEST, count // 100)
    size = constant.shared_change(similarity, fewest)
    threshold = config.constant
    if threshold is None:
        threshold = constant.constant_threshold(size, fewest)
    moving = np.flatnonzero(size > threshold)
    label, plane = np.full(count, CORE), np.full((count, 2), np.nan, np.float32)
    if len(moving) < fewest:
        return Regions(label, size, threshold, plane, 0.0, None, None, 0, 0.0, 1.0)

    similarity = similarity[np.ix_(moving, moving)]
    points, explained = _coordinates(similarity, fewest)
    flat = _plane(points, count, config)
    found, eps, scan, clusters = _cluster(flat, points, similarity, config, fewest)
    kept = found >= 0
    distance = _distance(points[kept])
    score = density.silhouette(distance, found[kept])
    agreement = _agreement(distance, found[kept])
    typical = np.median(size[moving][kept]) if kept.any() else np.inf
    large = size[moving] >= LARGE * typical
    label[moving] = np.where(kept, found + 1, np.where(large, UNASSIGNED, CORE))
    plane[moving] = flat
    return Regions(label, size, threshold, plane, explained, eps, scan, clusters, score, agreement)


def given_regions(
    similarity: Float[np.ndarray, "gaussians gaussians"],
    label: Int[np.ndarray, "gaussians"],
    config: RegionConfig | None = None,
) -> Regions:
    """Return regions that were made by hand, with what is measured of them and the plane in which they are shown.

    Parameters
    ----------
    similarity : as of `find_regions`.
    label : of each Gaussian; 0 constant core, 1… regions, -1 unassigned.
    config : of the plane.
    """
    count, config = len(similarity), config or RegionConfig()
    fewest = config.min_size or max(FEWEST, count // 100)
    size = constant.shared_change(similarity, fewest)
    threshold = constant.constant_threshold(size, fewest)
    plane = np.full((count, 2), np.nan, np.float32)
    moving = np.flatnonzero(((size > threshold) | (label > CORE)) & (np.diag(similarity) > 0))
    own = Regions(label, size, threshold, plane, 0.0, None, None, int(label.max(initial=0)), 0.0, 1.0, given=True)
    if len(moving) < fewest:
        return own
    points, explained = _coordinates(np.array(similarity[np.ix_(moving, moving)]), fewest)
    plane[moving] = _plane(points, count, config)
    kept = label[moving] > CORE
    found, distance = label[moving][kept] - 1, _distance(points[kept])
    score, agreement = density.silhouette(distance, found), _agreement(distance, found)
    return dataclasses.replace(own, explained=explained, score=score, agreement=agreement)


def _plane(
    points: Float[np.ndarray, "moving components"], count: int, config: RegionConfig
) -> Float[np.ndarray, "moving 2"]:
    """Return the plane in which Gaussians are clustered and shown.

    Parameters
    ----------
    count : of all Gaussians, which UMAP's number of neighbours follows.
    """
    if config.embedding == "pca":
        return principal_plane(points)
    neighbours = config.neighbours or int(np.clip(count // 60, LEAST_NEIGHBOURS, MOST_NEIGHBOURS))
    return umap_plane(points, neighbours, min_distance=0.0, seed=config.seed)


def _coordinates(
    similarity: Float[np.ndarray, "moving moving"], fewest: int
) -> tuple[Float[np.ndarray, "moving components"], float]:
    """Return unit vectors whose inner products are the correlations without private noise.

    Noise of one Gaussian alone lowers all its correlations alike and adds to its own variance. The
    first goes when vectors are scaled to length 1, the second by putting on the diagonal what the
    Gaussian shares with those most like it, instead of 1 (the communality of factor analysis).
    """
    scale = np.sqrt(np.diag(similarity))
    correlation = similarity / np.outer(scale, scale)
    np.fill_diagonal(correlation, constant.shared_change(correlation, fewest) ** 2)
    points, values = gram_coordinates(correlation, COMPONENTS)
    explained = float((points**2).sum() / np.maximum(values, 0).sum())
    return unit_rows(points), explained


def _distance(points: np.ndarray) -> np.ndarray:
    distance = np.clip(1 - points @ points.T, 0, 2)
    np.fill_diagonal(distance, 0)
    return distance


def _cluster(
    flat: np.ndarray, points: np.ndarray, similarity: np.ndarray, config: RegionConfig, fewest: int
) -> tuple[np.ndarray, float | None, density.EpsScan | None, int]:
    """Return the regions, DBSCAN's eps and scan where it was used, and how many clusters it found."""
    distance = _distance(points)
    rules = Refinement(
        fewest,
        ASSIGN,
        LEAST_SHARE[config.feature],
        WEAK[config.feature],
        config.constant,
        restructure=config.eps is None,
    )

    def refine(found: np.ndarray) -> np.ndarray:
        apart = density.silhouette(distance, found) >= LEAST_SILHOUETTE
        start = found if apart or config.eps is not None else np.zeros_like(found)
        return refine_regions(similarity, points, start, rules)

    if config.method == "hdbscan":
        found = density.hdbscan_labels(flat, fewest)
        return refine(found), None, None, int(found.max(initial=-1)) + 1
    if config.eps is not None:
        scan = density.scan_eps(flat, distance, fewest)
        found = density.dbscan_labels(flat, config.eps, fewest)
        return refine(found), config.eps, scan, int(found.max(initial=-1)) + 1
    scan = density.scan_eps(flat, distance, fewest, refine)
    trial = density.choose_eps(scan)
    return scan.labels[trial], float(scan.eps[trial]), scan, int(scan.clusters[trial])


def _agreement(distance: np.ndarray, found: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    clusters = int(found.max(initial=-1)) + 1
    if clusters < 2:
        return 1.0
    return float(adjusted_rand_score(found, density.linkage_labels(distance, clusters)))
