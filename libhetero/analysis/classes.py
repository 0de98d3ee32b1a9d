"""Classes of particles from a few coordinates each: k-means, or HDBSCAN. How many: `latent_classes.py`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.density import hdbscan_labels

SIGNIFICANT = 0.25
LARGEST_PRODUCT = 20_000_000  # particles × classes, above which k-means sees them block by block
BLOCK = 10_240


def significant_columns(points: Float[np.ndarray, "particles columns"]) -> Float[np.ndarray, "particles kept"]:
    """Return the leading columns that vary at least a quarter as much as the first (variance).

    A region is one signal, and what else its principal components hold is mostly error; a second
    state that counts has a variance of the same order.

    Parameters
    ----------
    points : principal components, by falling variance.
    """
    variance = np.var(points, axis=0, dtype=np.float64)
    return points[:, : max(1, int((variance >= SIGNIFICANT * variance[0]).sum()))]


def kmeans_classes(
    points: Float[np.ndarray, "particles columns"], classes: int, seed: int = 0
) -> Int[np.ndarray, "particles"]:
    """Sort particles into `classes` by k-means, numbered by their first coordinate, lowest first.

    The best of four starts. Where particles × classes exceeds 2·10⁷, mini-batches of 10,240 particles
    from one start instead, which end in minutes where the whole set would take days.

    Parameters
    ----------
    points : coordinates; distances are Euclidean, so scale them as they should count.
    classes : how many; fewer where there are fewer distinct particles.
    seed : of the starting centres.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    points = np.asarray(points, np.float32)
    classes = min(classes, len(np.unique(points, axis=0)))
    if classes <= 1:
        return np.zeros(len(points), int)
    kind, options = KMeans, {"n_init": 4}
    if len(points) * classes > LARGEST_PRODUCT:
        kind, options = MiniBatchKMeans, {"n_init": 1, "batch_size": BLOCK}
    fitted = kind(n_clusters=classes, random_state=seed, **options).fit(points)
    order = np.argsort(fitted.cluster_centers_[:, 0], kind="stable")
    place = np.empty(classes, int)
    place[order] = np.arange(classes)
    return place[fitted.labels_]


def hdbscan_classes(points: Float[np.ndarray, "particles columns"], min_size: int) -> Int[np.ndarray, "particles"]:
    """Sort particles into the clusters HDBSCAN finds, the largest first; -1 for those in none.

    Parameters
    ----------
    points : coordinates, few columns.
    min_size : fewest particles of a class.
    """
    return hdbscan_labels(points, min_size)


def class_members(label: Int[np.ndarray, "particles"]) -> dict[int, Int[np.ndarray, "members"]]:
    """Return the particles of each class, classes and particles in rising order; -1 is no class."""
    order = np.argsort(label, kind="stable")
    found, start = np.unique(label[order], return_index=True)
    groups = np.split(order, start[1:])
    return {int(one): group for one, group in zip(found, groups, strict=True) if one >= 0}


def class_medoids(
    points: Float[np.ndarray, "particles columns"], label: Int[np.ndarray, "particles"]
) -> dict[int, int]:
    """Return the member of each class that is nearest to the mean of its class.

    Parameters
    ----------
    points : coordinates; distances are Euclidean.
    label : class of each particle; -1 for none.
    """
    medoids = {}
    for one, members in class_members(label).items():
        inside = np.asarray(points[members], np.float64)
        distance = np.square(inside - inside.mean(axis=0)).sum(axis=1)
        medoids[one] = int(members[distance.argmin()])
    return medoids
