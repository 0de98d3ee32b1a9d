"""Clusters of points by density: DBSCAN with eps chosen from the data, and HDBSCAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NOISE = -1
LEAST_DISTANCE = 0.3


@dataclass(frozen=True, eq=False)
class EpsScan:
    """DBSCAN at a row of eps, and what became of its clusters.

    Parameters
    ----------
    eps : in the unit of the points, rising.
    clusters : how many clusters DBSCAN finds.
    groups : how many are left after the refinement.
    noise : fraction of points in none.
    score : mean silhouette of the groups, points of none counting 0; 0 for fewer than two.
    labels : the groups, -1 for none.
    """

    eps: Float[np.ndarray, "trials"]
    clusters: Int[np.ndarray, "trials"]
    groups: Int[np.ndarray, "trials"]
    noise: Float[np.ndarray, "trials"]
    score: Float[np.ndarray, "trials"]
    labels: Int[np.ndarray, "trials points"]


def scan_eps(
    points: Float[np.ndarray, "points 2"],
    distance: Float[np.ndarray, "points points"],
    min_size: int,
    refine: Callable[[np.ndarray], np.ndarray] = lambda labels: labels,
    trials: int = 40,
) -> EpsScan:
    """Run DBSCAN from the typical distance of neighbours to a third of the extent.

    Parameters
    ----------
    points : where DBSCAN clusters, e.g. from UMAP.
    distance : between the same points before embedding; the silhouette is taken here, so that
        the embedding does not judge itself.
    min_size : smaller clusters become noise; also DBSCAN's number of neighbours of a core point,
        up to 10.
    refine : makes groups of DBSCAN's clusters, labels to labels; done once for equal clusters.
    trials : how many eps.
    """
    eps = np.geomspace(*_eps_range(points, _core_neighbours(len(points), min_size)), trials)
    found = np.stack([dbscan_labels(points, value, min_size) for value in eps])
    distinct, trial = np.unique(found, axis=0, return_inverse=True)
    refined = [refine(row) for row in distinct]
    score = np.array([silhouette(distance, row) for row in refined])
    labels = np.stack(refined)[trial.ravel()]
    return EpsScan(
        eps=eps,
        clusters=found.max(axis=1) + 1,
        groups=labels.max(axis=1) + 1,
        noise=(labels == NOISE).mean(axis=1),
        score=score[trial.ravel()],
        labels=labels,
    )


def dbscan_labels(points: Float[np.ndarray, "points 2"], eps: float, min_size: int) -> Int[np.ndarray, "points"]:
    """Cluster by DBSCAN at one eps; clusters below `min_size` become noise (-1), largest first."""
    from sklearn.cluster import DBSCAN

    neighbours = _core_neighbours(len(points), min_size)
    return drop_small(DBSCAN(eps=eps, min_samples=neighbours).fit_predict(points), min_size)


def _core_neighbours(points: int, min_size: int) -> int:
    return max(2, min(10, min_size, points - 1))


def _eps_range(points: np.ndarray, neighbours: int) -> tuple[float, float]:
    from sklearn.neighbors import NearestNeighbors

    near, _ = NearestNeighbors(n_neighbors=neighbours + 1).fit(points).kneighbors(points)
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    highest = max(extent / 3, 1e-9)
    lowest = 0.7 * float(np.median(near[:, -1]))
    return float(np.clip(lowest, 1e-3 * highest, 0.5 * highest)), highest


def choose_eps(scan: EpsScan, tolerance: float = 0.02) -> int:
    """Return the trial to use: the middle of the longest run of eps as good as the best.

    As good: a silhouette within `tolerance` of the best and the same number of groups throughout
    the run. A result that hangs on one lucky eps loses to one that many eps agree on.
    """
    good = scan.score >= scan.score.max() - tolerance
    same = good[1:] & good[:-1] & (scan.groups[1:] == scan.groups[:-1])
    runs = np.split(np.arange(len(good)), np.flatnonzero(~same) + 1)
    longest = max((run for run in runs if good[run[0]]), key=len)
    return int(longest[(len(longest) - 1) // 2])


def hdbscan_labels(points: Float[np.ndarray, "points numbers"], min_size: int) -> Int[np.ndarray, "points"]:
    """Cluster by HDBSCAN, which needs no eps; -1 for noise.

    Parameters
    ----------
    points : where to cluster.
    min_size : smallest cluster.
    """
    import hdbscan

    if len(points) < max(2, min_size):
        return np.full(len(points), NOISE)
    clusterer = hdbscan.HDBSCAN(min_cluster_size=max(2, min_size), core_dist_n_jobs=1)
    return by_size(clusterer.fit_predict(np.asarray(points, np.float64)))


def linkage_labels(distance: Float[np.ndarray, "points points"], clusters: int) -> Int[np.ndarray, "points"]:
    """Cut average linkage into `clusters`, largest first."""
    from scipy.cluster.hierarchy import fcluster

    if len(distance) < 2:
        return np.zeros(len(distance), int)
    return by_size(fcluster(linkage_tree(distance), max(clusters, 1), criterion="maxclust") - 1)


def linkage_tree(distance: Float[np.ndarray, "points points"]) -> Float[np.ndarray, "merges 4"]:
    """Return the tree of average linkage, as SciPy writes it; the diagonal is not looked at."""
    from scipy.cluster.hierarchy import linkage

    return linkage(distance[np.triu_indices(len(distance), 1)], method="average")


def silhouette(distance: Float[np.ndarray, "points points"], labels: Int[np.ndarray, "points"]) -> float:
    """Return how much nearer points lie to their own cluster than to the next, from -1 to 1.

    The mean of (b - a) / max(a, b, 0.3) with a the mean distance to the other points of the own
    cluster and b to those of the nearest other cluster; noise counts 0. Fewer than two clusters: 0.

    Parameters
    ----------
    distance : 1 - correlation.
    labels : -1 for noise.

    References
    ----------
    Rousseeuw (1987), with a floor: clusters whose correlation exceeds 0.7 are hardly two, however
    tight they are.
    """
    clusters = int(labels.max(initial=NOISE)) + 1
    if clusters < 2:
        return 0.0
    member = (labels[:, None] == np.arange(clusters)).astype(np.float64)
    count = member.sum(axis=0)
    total = distance @ member
    kept = np.flatnonzero(labels != NOISE)
    own = labels[kept]
    within = total[kept, own] / np.maximum(count[own] - 1, 1)
    to_others = total[kept] / count
    to_others[np.arange(len(kept)), own] = np.inf
    beyond = to_others.min(axis=1)
    score = (beyond - within) / np.maximum(np.maximum(within, beyond), LEAST_DISTANCE)
    return float(score.sum() / len(labels))


def drop_small(labels: Int[np.ndarray, "points"], min_size: int) -> Int[np.ndarray, "points"]:
    """Turn clusters below `min_size` into noise and order the rest by size."""
    labels = np.asarray(labels).copy()
    for label in np.unique(labels[labels != NOISE]):
        if (labels == label).sum() < min_size:
            labels[labels == label] = NOISE
    return by_size(labels)


def by_size(labels: Int[np.ndarray, "points"]) -> Int[np.ndarray, "points"]:
    """Renumber clusters 0, 1, … from the largest (ties: the one met first); noise stays -1."""
    labels = np.asarray(labels)
    found, first, count = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    renumbered = np.full(labels.shape, NOISE)
    for new, old in enumerate(found[np.lexsort((first, -count))]):
        renumbered[labels == old] = new
    return renumbered
