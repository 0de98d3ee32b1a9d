"""Points, neighbours and interpolation weights of the decoder, chosen once from the neutral mixture.

Each level's points are k-means centres of the Gaussians' positions, snapped to the nearest
Gaussian. A finer point takes the features of its `interpolation` nearest coarse points, with
weights falling off with squared distance over the local spacing of the coarse points:

    w_ij ∝ exp(-d_ij² / 2 h_i²),   h_i = distance from i to its second nearest coarse point

As published the weights are exp(-50 d²), with d in units of the box: at 5 % of the box they have
fallen by 12 %, so neighbours count nearly the same. Offsets are published in units of the box, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from libhetero.models.gmm.clusters import group_points
from libhetero.models.gmm.config import GmmConfig


@dataclass(frozen=True, eq=False)
class Level:
    """One level of the hierarchy.

    Parameters
    ----------
    points : (P, 3), Å.
    neighbours : (P, K), each point's nearest points of the level, itself first.
    listed_by : (P, R), where each point stands in the flattened `neighbours`, filled up with
        P · K; it turns the gradient of gathering neighbours into another gather.
    offsets : (P, K, 3), neighbour minus point, in units of the level's mean spacing; point minus
        neighbour, in units of the box, in the published architecture.
    to_next : (P', P) interpolation to the next level; to the Gaussians for the last.
    to_gaussians : (N, P) interpolation straight to the Gaussians.
    """

    points: np.ndarray
    neighbours: np.ndarray
    listed_by: np.ndarray
    offsets: np.ndarray
    to_next: np.ndarray
    to_gaussians: np.ndarray


def build_topology(position: np.ndarray, config: GmmConfig, box_width: float, seed: int = 0) -> tuple[Level, ...]:
    """Choose the hierarchy for a mixture.

    Parameters
    ----------
    position : (N, 3), Å, of the Gaussians.
    config : sizes of the levels and numbers of neighbours.
    box_width : Å; the unit of published weights and offsets.
    seed : of k-means.

    Returns
    -------
    one `Level` per entry of `config.points`; levels larger than N are merged into one of N.
    """
    position = np.asarray(position, np.float64)
    sizes = sorted({min(size, len(position)) for size in config.points})
    clouds = [choose_points(position, size, seed) for size in sizes]
    targets = [*clouds[1:], position]
    return tuple(
        _level(cloud, target, position, config, box_width) for cloud, target in zip(clouds, targets, strict=True)
    )


def choose_points(position: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` of the positions, spread by k-means: distinct Gaussians near the centres."""
    if count >= len(position):
        return position
    centres, _ = group_points(position, count, seed)
    free = np.ones(len(position), bool)
    chosen = []
    for centre in centres:
        distance = np.where(free, np.sum((position - centre) ** 2, axis=1), np.inf)
        chosen.append(int(np.argmin(distance)))
        free[chosen[-1]] = False
    return position[np.sort(chosen)]


def _level(points: np.ndarray, target: np.ndarray, gaussians: np.ndarray, config: GmmConfig, box_width: float) -> Level:
    count = min(config.neighbours, len(points))
    distance, neighbours = cKDTree(points).query(points, count)
    distance, neighbours = distance.reshape(len(points), -1), neighbours.reshape(len(points), -1)
    spacing = max(float(distance[:, -1].mean()), 1e-6)
    offsets = (points[neighbours] - points[:, None]) / spacing
    if config.architecture == "published":
        offsets = (points[:, None] - points[neighbours]) / box_width
    decay = 50 / box_width**2 if config.interpolation_weights == "published" else None
    return Level(
        points=points.astype(np.float32),
        neighbours=neighbours.astype(np.int32),
        listed_by=invert_neighbours(neighbours),
        offsets=offsets.astype(np.float32),
        to_next=interpolation_matrix(points, target, config.interpolation, decay),
        to_gaussians=interpolation_matrix(points, gaussians, config.interpolation, decay),
    )


def invert_neighbours(neighbours: np.ndarray) -> np.ndarray:
    """Return, for each of P points, its places in the flattened (P, K) list, padded with P · K."""
    flat = neighbours.reshape(-1)
    counts = np.bincount(flat, minlength=len(neighbours))
    order = np.argsort(flat, kind="stable")
    column = np.arange(flat.size) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.full((len(neighbours), counts.max()), flat.size, np.int32)
    places[flat[order], column] = order
    return places


def interpolation_matrix(source: np.ndarray, target: np.ndarray, count: int, decay: float | None = None) -> np.ndarray:
    """Return the (targets, sources) float32 matrix of the module's weights; rows sum to 1.

    Parameters
    ----------
    source, target : (P, 3) and (P', 3), Å.
    count : nearest sources that a target takes from.
    decay : c of weights exp(-c d²), 1/Å²; None takes the local spacing.
    """
    count = min(count, len(source))
    distance, nearest = cKDTree(source).query(target, count)
    distance, nearest = distance.reshape(len(target), -1), nearest.reshape(len(target), -1)
    if decay is None:
        decay = 0.5 / np.maximum(distance[:, [min(1, count - 1)]], 1e-6) ** 2
    # Relative to the nearest source, which changes nothing but keeps far targets from 0 / 0.
    weight = np.exp(-decay * (distance**2 - distance[:, :1] ** 2))
    weight /= weight.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(target), len(source)), np.float32)
    np.put_along_axis(matrix, nearest, weight.astype(np.float32), axis=1)
    return matrix
