"""Ways through a cloud of points: straight lines, paths from neighbour to neighbour, grids."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.embedding import fix_signs
from libhetero.errors import DataError

LARGEST_GRAPH = 50_000
OUTER = (5, 95)  # percentiles that a grid spans


def straight_path(anchors: Float[np.ndarray, "anchors columns"], steps: int) -> Float[np.ndarray, "points columns"]:
    """Return points on the lines from each anchor to the next, `steps` of equal length on each.

    Parameters
    ----------
    anchors : two or more.
    steps : so that (anchors - 1) · steps + 1 points come back, the anchors among them.
    """
    along = np.arange((len(anchors) - 1) * steps + 1) / steps
    first = np.minimum(along.astype(int), len(anchors) - 2)
    part = (along - first)[:, None]
    return ((1 - part) * anchors[first] + part * anchors[first + 1]).astype(np.float32)


def neighbour_path(
    points: Float[np.ndarray, "points columns"], anchors: Int[np.ndarray, "anchors"], steps: int, neighbours: int = 10
) -> Int[np.ndarray, "path"]:
    """Return the points on the shortest way through the anchors, from neighbour to neighbour.

    Every point is joined with its nearest ones at a cost of their distance. Above 50,000 points the
    way leads over as many, evenly spread, and the anchors.

    Parameters
    ----------
    points : Euclidean coordinates.
    anchors : places in `points`, to be passed in this order.
    steps : at most so many on the way from each anchor to the next, evenly spread over its length.
    neighbours : of each point.

    Returns
    -------
    Places in `points`.

    Raises
    ------
    DataError : if no way leads from an anchor to the next.
    """
    from scipy.sparse.csgraph import dijkstra
    from sklearn.neighbors import kneighbors_graph

    spread = np.linspace(0, len(points) - 1, min(len(points), LARGEST_GRAPH)).astype(int)
    nodes = np.union1d(spread, anchors)
    graph = kneighbors_graph(points[nodes], min(neighbours, len(nodes) - 1), mode="distance")
    path = [int(anchors[0])]
    for first, last in zip(anchors, anchors[1:], strict=False):
        start, end = np.searchsorted(nodes, [first, last])
        length, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        if not np.isfinite(length[end]):
            raise DataError(
                f"no way from neighbour to neighbour leads from particle {first} to {last}: they lie on "
                "islands of their own. Take the straight line with --route direct, or particles of one island."
            )
        back = [end]
        while back[-1] != start:
            back.append(before[back[-1]])
        way = np.array(back[::-1])
        path.extend(int(nodes[place]) for place in _thinned(way, length[way], steps)[1:])
    return np.array(path)


def _thinned(way: Int[np.ndarray, "nodes"], length: Float[np.ndarray, "nodes"], steps: int) -> Int[np.ndarray, "fewer"]:
    """Return at most `steps` + 1 nodes of a way, the ends among them, evenly spread over its length."""
    if len(way) <= steps + 1:
        return way
    wanted = np.linspace(0, length[-1], steps + 1)
    nearest = np.abs(length[:, None] - wanted).argmin(axis=0)
    return way[np.unique(np.concatenate([[0], nearest, [len(way) - 1]]))]


def component_grid(points: Float[np.ndarray, "points columns"], side: int) -> Float[np.ndarray, "grid columns"]:
    """Return a grid of `side` × `side` points in the plane of the first two principal components.

    It spans the 5th to the 95th percentile along each, the second running fastest; everything
    else is at the mean. Points of one column give `side` points on a line.

    Parameters
    ----------
    points : coordinates.
    side : 2 or more.
    """
    mean, scores, axes, _ = principal_components(points, 2)
    low, high = np.percentile(scores, OUTER, axis=0)
    steps = np.linspace(low, high, side)
    mesh = np.meshgrid(*steps.T, indexing="ij")
    return (mean + np.stack([one.ravel() for one in mesh], axis=1) @ axes.T).astype(np.float32)


def component_line(
    points: Float[np.ndarray, "points columns"], number: int, steps: int
) -> Float[np.ndarray, "line columns"]:
    """Return `steps` + 1 points along principal component `number` (from 1), from its 5th to its 95th percentile.

    Everything else is at the mean.
    """
    mean, scores, axes, _ = principal_components(points, number)
    low, high = np.percentile(scores[:, -1], OUTER)
    along = np.linspace(low, high, steps + 1)
    return (mean + along[:, None] * axes[:, -1]).astype(np.float32)


def principal_components(
    points: Float[np.ndarray, "points columns"], most: int
) -> tuple[
    Float[np.ndarray, "columns"],
    Float[np.ndarray, "points components"],
    Float[np.ndarray, "columns components"],
    Float[np.ndarray, "components"],
]:
    """Return mean, scores, axes and the part of the variance that each of at most `most` components holds.

    Signs are such that the largest entry of each axis is positive.
    """
    mean = points.mean(axis=0, dtype=np.float64)
    centred = points - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = fix_signs(vectors[:, ::-1][:, :most])
    part = np.maximum(values[::-1], 0) / max(values.sum(), 1e-30)
    return mean, centred @ axes, axes, part[: axes.shape[1]]


def occupied_cells(
    plane: Float[np.ndarray, "points 2"], side: int
) -> tuple[Int[np.ndarray, "cells 2"], Int[np.ndarray, "cells"]]:
    """Return the cells of a grid over a plane that hold points, and the point nearest to each centre.

    Parameters
    ----------
    plane : coordinates; the grid spans their extent.
    side : cells along each axis.

    Returns
    -------
    Row (along the second coordinate) and column of each cell, and a place in `plane`.
    """
    low = plane.min(axis=0)
    width = np.maximum(np.ptp(plane, axis=0) / side, 1e-12)
    cell = np.minimum(((plane - low) / width).astype(int), side - 1)
    off_centre = np.square((plane - low) / width - cell - 0.5).sum(axis=1)
    order = np.lexsort((off_centre, cell[:, 0], cell[:, 1]))
    cells, first = np.unique(cell[order][:, ::-1], axis=0, return_index=True)
    return cells, order[first]
