"""Regions: sets of Gaussians that change together over the particles.

Inner products of the changes → the constant core set aside → PCA by the Gram matrix → UMAP →
DBSCAN, with eps chosen by the silhouette before embedding and the outcome checked against
average linkage of the correlations. Region 0 is the constant core, regions 1, 2, … the parts that
change, the largest first, and -1 what fits none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis import constant, density
from libhetero.analysis.embedding import (
    gram_coordinates,
    principal_plane,
    umap_plane,
    unit_rows,
)
from libhetero.errors import ConfigurationError

CORE = 0
UNASSIGNED = -1


@dataclass(frozen=True)
class RegionConfig:
    """How to group Gaussians.

    Parameters
    ----------
    method : "dbscan" or "hdbscan".
    embedding : "umap" or "pca", the plane that is clustered.
    eps : DBSCAN's radius in that plane; None to choose it.
    min_size : fewest Gaussians of a region.
    components : most PCA coordinates given to UMAP.
    neighbours : UMAP's neighbours.
    constant : size of change below which a Gaussian is constant (1 is presence to absence, or one
        sigma of displacement); None to find the gap.
    least_silhouette : below it the changing Gaussians are one region.
    assign : correlation with a region above which a noise point joins it.
    least_share : a Gaussian that changes less than this fraction of what full members of its region
        do (80th percentile) goes back to the core: a decoder lets presence leak over the border.
        0 never; so for motion, which fades towards a hinge within a piece.
    seed : of UMAP.
    """

    method: str = "dbscan"
    embedding: str = "umap"
    eps: float | None = None
    min_size: int = 10
    components: int = 30
    neighbours: int = 15
    constant: float | None = None
    least_silhouette: float = 0.3
    assign: float = 0.5
    least_share: float = 0.6
    seed: int = 0

    def __post_init__(self):
        for name, value, allowed in (
            ("method", self.method, ("dbscan", "hdbscan")),
            ("embedding", self.embedding, ("umap", "pca")),
        ):
            if value not in allowed:
                raise ConfigurationError(f"{name}: expected {' or '.join(allowed)}, got {value!r}.")
        if self.eps is not None and not self.eps > 0:
            raise ConfigurationError(f"eps: expected a number above 0, got {self.eps:g}.")
        if self.min_size < 2:
            raise ConfigurationError(f"min_size: expected at least 2, got {self.min_size}.")


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions found, and what was chosen on the way.

    Parameters
    ----------
    label : (N,) int: 0 constant core, 1… regions from the largest, -1 unassigned.
    size : (N,) shared change of each Gaussian; 1 is presence to absence, or one sigma.
    threshold : the size of change that separates the core.
    embedding : (N, 2) coordinates of changing Gaussians; NaN for the core.
    explained : fraction of the changes' variance in the PCA coordinates kept.
    eps : DBSCAN's radius; None for HDBSCAN or one region.
    scan : DBSCAN at every eps tried; None if none was.
    score : mean silhouette of the regions; 0 for fewer than two.
    agreement : adjusted Rand index against average linkage with as many clusters; 1 below two.
    """

    label: np.ndarray
    size: np.ndarray
    threshold: float
    embedding: np.ndarray
    explained: float
    eps: float | None
    scan: density.EpsScan | None
    score: float
    agreement: float

    @property
    def count(self) -> int:
        """Number of regions that change, the core not counted."""
        return int(max(self.label.max(initial=0), 0))

    def members(self, region: int) -> Int[np.ndarray, "members"]:
        """Return the indices of the Gaussians of one region."""
        return np.flatnonzero(self.label == region)


def find_regions(
    similarity: Float[np.ndarray, "gaussians gaussians"], config: RegionConfig | None = None
) -> Regions:
    """Group Gaussians that change together.

    Parameters
    ----------
    similarity : covariance of amplitude changes, or `motion_similarity`, or their sum.
    config : how.
    """
    config = config or RegionConfig()
    count = len(similarity)
    size = constant.shared_change(similarity, config.min_size)
    threshold = config.constant
    if threshold is None:
        threshold = constant.constant_threshold(size)
    moving = np.flatnonzero(size > threshold)
    label, plane = np.full(count, CORE), np.full((count, 2), np.nan, np.float32)
    if len(moving) < config.min_size:
        return Regions(label, size, threshold, plane, 0.0, None, None, 0.0, 1.0)

    points, explained = _coordinates(similarity[np.ix_(moving, moving)], config)
    distance = np.clip(1 - points @ points.T, 0, 2)
    np.fill_diagonal(distance, 0)
    flat = _plane(points, config)
    found, eps, scan = _cluster(flat, distance, config)
    if found.max(initial=-1) < 1 or density.silhouette(distance, found) < config.least_silhouette:
        found, eps = np.zeros(len(moving), int), eps if config.eps is not None else None
    score, agreement = density.silhouette(distance, found), _agreement(distance, found)
    found = _assign_noise(points, found, config.assign)
    found, leaked = _set_leaks_aside(found, size[moving], config)
    label[moving] = np.where(leaked, CORE, np.where(found < 0, UNASSIGNED, found + 1))
    plane[moving] = flat
    return Regions(label, size, threshold, plane, explained, eps, scan, score, agreement)


def _coordinates(similarity: np.ndarray, config: RegionConfig) -> tuple[np.ndarray, float]:
    """Return unit vectors whose inner products are the correlations without private noise.

    Noise of one Gaussian alone lowers all its correlations alike and adds to its own variance. The
    first goes when vectors are scaled to length 1, the second by putting on the diagonal what the
    Gaussian shares with those most like it, instead of 1 (the communality of factor analysis).
    """
    scale = np.sqrt(np.diag(similarity))
    correlation = similarity / np.outer(scale, scale)
    np.fill_diagonal(correlation, constant.shared_change(correlation, config.min_size) ** 2)
    points, values = gram_coordinates(correlation, config.components)
    explained = float((points**2).sum() / np.maximum(values, 0).sum())
    return unit_rows(points), explained


def _plane(points: np.ndarray, config: RegionConfig) -> np.ndarray:
    if config.embedding == "pca":
        return principal_plane(points)
    return umap_plane(points, config.neighbours, min_distance=0.0, seed=config.seed)


def _cluster(
    flat: np.ndarray, distance: np.ndarray, config: RegionConfig
) -> tuple[np.ndarray, float | None, density.EpsScan | None]:
    if config.method == "hdbscan":
        return density.hdbscan_labels(flat, config.min_size), None, None
    scan = density.scan_eps(flat, distance, config.min_size)
    if config.eps is None:
        trial = density.choose_eps(scan)
        return scan.labels[trial], float(scan.eps[trial]), scan
    return density.dbscan_labels(flat, config.eps, config.min_size), config.eps, scan


def _agreement(distance: np.ndarray, found: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    kept = found != density.NOISE
    clusters = int(found.max(initial=-1)) + 1
    if clusters < 2:
        return 1.0
    linked = density.linkage_labels(distance[np.ix_(kept, kept)], clusters)
    return float(adjusted_rand_score(found[kept], linked))


def _assign_noise(points: np.ndarray, found: np.ndarray, least: float) -> np.ndarray:
    """Give noise points to the region whose mean change they correlate with, if above `least`."""
    clusters = int(found.max(initial=-1)) + 1
    if clusters == 0:
        return found
    centres = unit_rows(np.stack([points[found == k].mean(axis=0) for k in range(clusters)]))
    correlation = points @ centres.T
    nearest = correlation.argmax(axis=1)
    joins = (found == density.NOISE) & (correlation.max(axis=1) >= least)
    return np.where(joins, nearest, found)


def _set_leaks_aside(
    found: np.ndarray, size: np.ndarray, config: RegionConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, by size, without the members that change too little, and a mask of these."""
    leaked = np.zeros(len(found), bool)
    for region in range(int(found.max(initial=-1)) + 1):
        inside = found == region
        full = np.percentile(size[inside], 80)
        leaked |= inside & (size < config.least_share * full)
    kept = density.drop_small(np.where(leaked, density.NOISE, found), 1)
    return kept, leaked
