"""Points in a plane or in a few dimensions: PCA by the Gram matrix, and UMAP."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

FLAT = 1e-5  # of the widest axis: a plane that narrow is a line, on which UMAP divides by 0
FEWEST = 10
LARGEST_EXACT = 100_000


def gram_coordinates(
    gram: Float[np.ndarray, "points points"], components: int
) -> tuple[Float[np.ndarray, "points components"], Float[np.ndarray, "points"]]:
    """Return principal coordinates from inner products, G = V Λ Vᵀ → V √Λ, and all eigenvalues.

    The same as PCA of the vectors themselves (not centred), at the cost of a points × points
    matrix however long the vectors are. Eigenvalues fall; signs make the largest entry positive.
    """
    values, vectors = np.linalg.eigh(0.5 * (gram + gram.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = max(1, min(components, int((values > 1e-9 * max(values[0], 1e-30)).sum())))
    coordinates = fix_signs(vectors[:, :keep]) * np.sqrt(np.maximum(values[:keep], 0))
    return coordinates, values


def fix_signs(vectors: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Flip columns so that their largest entries are positive: one result whatever LAPACK."""
    place = np.abs(vectors).argmax(axis=0)
    sign = np.sign(vectors[place, np.arange(vectors.shape[1])])
    return vectors * np.where(sign == 0, 1, sign)


def unit_rows(points: Float[np.ndarray, "points columns"]) -> Float[np.ndarray, "points columns"]:
    """Scale every row to length 1; rows of zeros stay."""
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.maximum(length, 1e-12)


def principal_plane(points: Float[np.ndarray, "points columns"]) -> Float[np.ndarray, "points 2"]:
    """Return the first two principal coordinates (the second is 0 for one column)."""
    centred = np.asarray(points, np.float64) - np.mean(points, axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    plane = (fix_signs(left[:, :2]) * singular[:2]).astype(np.float32)
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def umap_plane(
    points: Float[np.ndarray, "points columns"], neighbours: int = 15, min_distance: float = 0.1, seed: int = 0
) -> Float[np.ndarray, "points 2"]:
    """Embed points in a plane by UMAP, the same for the same seed.

    Neighbours come from scikit-learn and the start from PCA, which spares most of UMAP's
    compilation and its spectral solver; above 100,000 points they come from UMAP's own search, near
    enough and in time that does not grow with the square. Fewer than ten points: PCA instead.

    Parameters
    ----------
    points : Euclidean coordinates.
    neighbours : how many neighbours of each point to respect; at most half of the points.
    min_distance : how tightly points may lie; 0 to cluster afterwards.
    seed : of the stochastic optimisation.
    """
    points = np.ascontiguousarray(points, np.float32)
    start = principal_plane(points)
    if len(points) < FEWEST:
        return start
    neighbours = min(neighbours, len(points) // 2)
    known = {} if len(points) > LARGEST_EXACT else {"precomputed_knn": _neighbours(points, neighbours)}
    spread = start.std(axis=0)
    noise = np.random.default_rng(seed).normal(size=start.shape).astype(np.float32)
    start = start + np.where(spread > FLAT * spread.max(), 0, 1e-3).astype(np.float32) * noise
    umap = _import_umap()
    reducer = umap.UMAP(n_neighbors=neighbours, min_dist=min_distance, init=start, random_state=seed, n_jobs=1, **known)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)
        return np.asarray(reducer.fit_transform(points), np.float32)


def _neighbours(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest points of each, itself the first, and their distances."""
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(points)
    return index, distance.astype(np.float32)


def _import_umap():
    """Import umap, which warns on import that it lacks an optional package nobody here needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap
    return umap
