"""How densely particles lie in a plane of their latents, with the width of each particle's own uncertainty taken off.

A particle says where it lies only so well. Of a posterior N(m_i, C_i) in the plane, made with the prior N(p, P), what
the image alone says of a place c is

    L_i(c) ∝ N(c; m_i, C_i) / N(c; p, P)

and the density of highest likelihood on a grid, w, is found by expectation maximisation from a flat one,

    w_c ← w_c · mean_i L_i(c) / Σ_c' w_c' L_i(c')

stopped after a few steps, as later ones make spikes of noise. Where posteriors are not known, L_i is a Gaussian of
Scott's width about the particle, and one step is taken: the usual kernel density estimate.

States are the maxima that stand out of their surroundings: the density falls by a factor e^`DIP` on the way to any
higher one. The likeliest path between two states is the one of least ∫ 1/w ds.

References
----------
Laird, J. Am. Stat. Assoc. 73 (1978) 805: the mixing distribution of highest likelihood.
Scott, Multivariate Density Estimation (1992).
Gilles et al., PNAS 122 (2025): density of latents freed of their uncertainty, and paths through it, for cryo-EM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

CELLS = 48  # along each axis
STEPS = 20
OUTER = (0.5, 99.5)  # percentiles of the particles that the grid spans, and a margin
MARGIN = 0.1
SMOOTH = 1.0  # cells
DIP = 0.5
LEAST_SHARE, LEAST_PARTICLES = 0.01, 20  # of a state
MOST_STATES = 12
LARGEST = 8000  # particles that the density is estimated from
FLOOR = 1e-3  # of the highest density, for the cost of a path


@dataclass(frozen=True, eq=False)
class LatentDensity:
    """Density of particles on a grid of a plane.

    Parameters
    ----------
    x, y : coordinates of the cells along both axes.
    value : probability of each cell.
    states : cells of the maxima that stand out, (row, column), the most populated first.
    share : part of the particles about each.
    path : cells of the likeliest path between the first two states; none where there is one state.
    """

    x: Float[np.ndarray, "columns"]
    y: Float[np.ndarray, "rows"]
    value: Float[np.ndarray, "rows columns"]
    states: Int[np.ndarray, "states 2"]
    share: Float[np.ndarray, "states"]
    path: Int[np.ndarray, "nodes 2"]

    def places(self, cells: Int[np.ndarray, "cells 2"]) -> Float[np.ndarray, "cells 2"]:
        """Return the coordinates (x, y) of cells."""
        return np.stack([self.x[cells[:, 1]], self.y[cells[:, 0]]], axis=1)


@dataclass(frozen=True, eq=False)
class PlanePosterior:
    """Posteriors in the plane.

    Parameters
    ----------
    covariance : C of each particle.
    prior_mean, prior_covariance : p and P.
    """

    covariance: Float[np.ndarray, "particles 2 2"]
    prior_mean: Float[np.ndarray, "2"]
    prior_covariance: Float[np.ndarray, "2 2"]

    def take(self, rows: Int[np.ndarray, "chosen"]) -> PlanePosterior:
        """Return those of some particles."""
        return PlanePosterior(self.covariance[rows], self.prior_mean, self.prior_covariance)


def latent_density(
    place: Float[np.ndarray, "particles 2"], posterior: PlanePosterior | None = None, seed: int = 0
) -> LatentDensity:
    """Return the density of particles in a plane.

    Parameters
    ----------
    place : of the particles, means of the posteriors.
    posterior : what the run knows of them; None for nothing.
    seed : of the particles that are taken where there are more than 8000.
    """
    if len(place) > LARGEST:
        rows = np.sort(np.random.default_rng(seed).choice(len(place), LARGEST, replace=False))
        place, posterior = place[rows], None if posterior is None else posterior.take(rows)
    x, y = (_axis(one) for one in place.T)
    cells = np.stack([one.ravel() for one in np.meshgrid(x, y)], axis=1)
    likelihood = _kernels(place, cells) if posterior is None else _image_likelihood(place, posterior, cells)
    weight = np.full(len(cells), 1 / len(cells))
    for _ in range(1 if posterior is None else STEPS):
        weight = weight * _responsibility(likelihood, weight)
    value = weight.reshape(len(y), len(x))
    value = value if posterior is None else gaussian_filter(value, SMOOTH, mode="constant")
    value = value / value.sum()
    states, share = _states(value, len(place))
    return LatentDensity(x, y, value, states, share, _path(value, states, x, y))


def mean_in_cells(
    density: LatentDensity,
    cells: Int[np.ndarray, "cells 2"],
    place: Float[np.ndarray, "particles 2"],
    latent: Float[np.ndarray, "particles columns"],
) -> Float[np.ndarray, "cells columns"]:
    """Return the mean latent of the particles about each cell, weighted by a Gaussian of Scott's width.

    Parameters
    ----------
    density : whose cells these are.
    cells : row and column of each.
    place, latent : of all particles.
    """
    width = _width(place)
    away = (density.places(cells)[:, None] - place) / width
    log = -0.5 * (away**2).sum(axis=2)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    return (weight @ latent) / weight.sum(axis=1, keepdims=True)


def _axis(values: np.ndarray) -> Float[np.ndarray, "cells"]:
    low, high = np.percentile(values, OUTER)
    margin = MARGIN * max(high - low, 1e-6)
    return np.linspace(low - margin, high + margin, CELLS)


def _width(place: np.ndarray) -> float:
    """Return Scott's width for two dimensions, the same along both: they have the same unit."""
    return float(np.sqrt(np.prod(np.maximum(place.std(axis=0), 1e-6))) * len(place) ** (-1 / 6))


def _kernels(place: np.ndarray, cells: np.ndarray) -> Float[np.ndarray, "particles cells"]:
    away = ((place[:, None] - cells) / _width(place)).astype(np.float32)
    return np.exp(-0.5 * (away**2).sum(axis=2))


def _image_likelihood(
    place: np.ndarray, posterior: PlanePosterior, cells: np.ndarray
) -> Float[np.ndarray, "particles cells"]:
    """Return L of every particle and cell, the largest of each particle 1."""
    precision = np.linalg.inv(posterior.covariance)
    off = cells - posterior.prior_mean
    prior = np.einsum("ci,ij,cj->c", off, np.linalg.inv(posterior.prior_covariance), off)
    # |c - m|² in the metric of each particle, as products of what depends on the particle and on the cell alone.
    pairs = np.stack([cells[:, 0] ** 2, 2 * cells[:, 0] * cells[:, 1], cells[:, 1] ** 2])
    of_pairs = np.stack([precision[:, 0, 0], precision[:, 0, 1], precision[:, 1, 1]], axis=1)
    linear = np.einsum("nij,nj->ni", precision, place)
    square = of_pairs @ pairs - 2 * linear @ cells.T
    log = -0.5 * (square - prior)
    return np.exp(log - log.max(axis=1, keepdims=True)).astype(np.float32)


def _responsibility(likelihood: np.ndarray, weight: np.ndarray) -> Float[np.ndarray, "cells"]:
    """Return mean_i L_i(c) / Σ w L_i; particles that lie in no cell say nothing."""
    total = likelihood @ weight
    part: np.ndarray = np.where(total > 0, 1 / np.maximum(total, 1e-30), 0) @ likelihood
    return part / max(np.count_nonzero(total > 0), 1)


def _states(value: np.ndarray, particles: int) -> tuple[Int[np.ndarray, "states 2"], Float[np.ndarray, "states"]]:
    """Return the maxima that stand out, and the share of the particles in the basin of each.

    Cells are flooded from the highest down: where two basins meet, the one of the lower maximum is a state if that
    maximum is e^`DIP` times as high as the cell where they meet, and is part of the higher one else.
    """
    flat, (rows, columns) = value.ravel(), value.shape
    basin = [-1] * len(flat)
    peak: list[int] = []
    parent: list[int] = []
    mass: list[float] = []

    def root(one: int) -> int:
        while parent[one] != one:
            one = parent[one]
        return one

    for cell in np.argsort(-flat, kind="stable").tolist():
        row, column = divmod(cell, columns)
        near = [
            r * columns + c
            for r in range(max(row - 1, 0), min(row + 2, rows))
            for c in range(max(column - 1, 0), min(column + 2, columns))
            if basin[r * columns + c] >= 0
        ]
        if not near:
            basin[cell] = len(peak)
            peak.append(cell)
            parent.append(len(parent))
            mass.append(float(flat[cell]))
            continue
        uphill = root(basin[max(near, key=lambda one: flat[one])])
        basin[cell] = uphill
        mass[uphill] += float(flat[cell])
        first, *others = sorted({root(basin[one]) for one in near}, key=lambda one: -flat[peak[one]])
        for other in others:
            if flat[peak[other]] < np.exp(DIP) * flat[cell] or mass[other] * particles < LEAST_PARTICLES:
                parent[other] = first
                mass[first] += mass[other]
    states = sorted((one for one in range(len(peak)) if parent[one] == one), key=lambda one: -mass[one])
    states = [one for one in states if mass[one] >= LEAST_SHARE or one == states[0]][:MOST_STATES]
    cells = np.stack(np.unravel_index([peak[one] for one in states], value.shape), axis=1)
    return cells, np.array([mass[one] for one in states])


def _path(
    value: np.ndarray, states: Int[np.ndarray, "states 2"], x: np.ndarray, y: np.ndarray
) -> Int[np.ndarray, "nodes 2"]:
    """Return the cells of the likeliest path between the first two states."""
    if len(states) < 2:
        return np.zeros((0, 2), np.int64)
    rows, columns = value.shape
    number = np.arange(value.size).reshape(value.shape)
    cost = 1 / np.maximum(value / value.max(), FLOOR)
    scale = np.array([np.ptp(y) / max(rows - 1, 1), np.ptp(x) / max(columns - 1, 1)])
    scale = scale / scale.mean()
    starts, ends, costs = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, rows - down), slice(max(-right, 0), columns - max(right, 0)))
        there = (slice(down, rows), slice(max(right, 0), columns + min(right, 0)))
        length = float(np.hypot(*(scale * (down, right))))
        starts.append(number[here].ravel())
        ends.append(number[there].ravel())
        costs.append((0.5 * length * (cost[here] + cost[there])).ravel())
    edges = (np.concatenate(starts), np.concatenate(ends))
    graph = coo_matrix((np.concatenate(costs), edges), shape=(value.size, value.size)).tocsr()
    first, last = (int(number[tuple(state)]) for state in states[:2])
    _, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    back = [last]
    while back[-1] != first:
        back.append(int(before[back[-1]]))
    return np.stack(np.unravel_index(back[::-1], value.shape), axis=1)
