"""Which components of a mixture are told apart: there are clearly fewer particles between them than in either.

Any smooth density is a mixture of Gaussians, a continuum of as many as there are particles to see them. So components
are classes only where the particles themselves leave a dip between: they are counted in windows along the line from one
mean to the next, within a cylinder that is as wide as a component. The cylinder is the same wherever the window is, so
that a flat density gives equal counts, however the components divide it. Two explanations of the
count between are held against each other: as many as at the lesser summit, or as few as there are (though not fewer
than the two components leave there). How many neighbours are told apart at all is learnt from the set, from a sceptical
start, so that one pair needs clear evidence, and the thousandth pair of a thousand classes of few particles, all others
clearly divided, need not have as much.

Components are joined from the densest saddle to the thinnest, as water rises over a landscape seen upside down, and the
summit of what is joined so far counts.

References
----------
Hartigan & Hartigan, Ann. Stat. 13 (1985) 70: what a dip is. Chazal et al., J. ACM 60 (2013) 41: clusters by the
persistence of summits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.special import ndtr

from libhetero.analysis.component_search import Found

NEIGHBOURS = 6  # nearest components that each is compared with
DIP = 1.2  # lesser summit over saddle
CLEAR_DIP = 1.5  # the same, at least, of what is held against a flat density
LEAST_BETWEEN = 0.05  # of the summit, where components alone would leave less
SCEPTICAL, DOUBTS = 0.005, 10.0  # share of neighbours told apart before any is seen, and how many pairs that counts for
BESIDE = 2.2  # components this far from the line, in their own deviations, are not between
CYLINDER = 0.9  # of a component on the line lies in the cylinder
BETWEEN = np.linspace(0.2, 0.8, 7)  # of the way, where a saddle is looked for


@dataclass(frozen=True, eq=False)
class _Landscape:
    """Particles and components in units of the shape and the typical error.

    Parameters
    ----------
    points, weight : of the particles, sorted by component.
    edges : where each component begins.
    mean, scale : of the components.
    """

    points: np.ndarray
    weight: np.ndarray
    edges: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, found: Found) -> _Landscape:
        mixture, seen = found.mixture, found.seen
        error = seen.error.mean(axis=0)
        variance = mixture.shape + error
        order = np.argsort(found.member, kind="stable")
        edges = np.searchsorted(found.member[order], np.arange(found.components + 1))
        unit = np.sqrt(variance)
        scale = ((mixture.scale[:, None] * mixture.shape + error) / variance).mean(axis=1)
        return cls(seen.points[order] / unit, seen.weight[order], edges, mixture.mean / unit, scale)

    def neighbours(self) -> list[tuple[int, int]]:
        """Return pairs of components of which one is among the nearest of the other."""
        square = np.square(self.mean).sum(axis=1)
        distance = square[:, None] - 2 * self.mean @ self.mean.T + square
        np.fill_diagonal(distance, np.inf)
        near = np.argsort(distance, axis=1)[:, : min(NEIGHBOURS, len(self.mean) - 1)]
        return sorted({(min(i, j), max(i, j)) for i, row in enumerate(near.tolist()) for j in row})

    def along(self, first: int, second: int) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the distance of two components, and of particles near the line their places on it and weights."""
        from scipy.stats import chi2

        line = self.mean[second] - self.mean[first]
        distance = max(float(np.linalg.norm(line)), 1e-9)
        line = line / distance
        wide = max(self.scale[first], self.scale[second])
        offset = self.mean - self.mean[first]
        place = offset @ line
        aside = np.square(offset).sum(axis=1) - place**2
        beside = (aside < BESIDE**2 * wide) & (place > -distance) & (place < 2 * distance)
        rows = np.concatenate([np.arange(*self.edges[one : one + 2]) for one in np.flatnonzero(beside)])
        offset = self.points[rows] - self.mean[first]
        place = offset @ line
        if len(line) > 1:
            radius = chi2.ppf(CYLINDER, len(line) - 1) * wide
            inside = np.square(offset).sum(axis=1) - place**2 < radius
            rows, place = rows[inside], place[inside]
        order = np.argsort(place)
        return distance, place[order], np.cumsum(self.weight[rows[order]])


@dataclass(frozen=True)
class _Saddle:
    """Between two components: what the windows hold.

    Parameters
    ----------
    first, second : components.
    distance : of them.
    window : length of each window.
    heights : particles per unit of length at either component.
    height : the same where fewest are between.
    middle : the same half-way, which no choice of the fewest has lowered.
    expected : particles there of these two components, of which a class may have more.
    """

    first: int
    second: int
    distance: float
    window: float
    heights: tuple[float, float]
    height: float
    middle: float
    expected: float

    def lesser_summit(self, summit: np.ndarray, top: np.ndarray) -> float:
        """Return the lower of the summits that the components belong to, and not more than is seen along this line.

        How high a component is depends on the line, along an arc or across it: a summit is higher than it in the
        ratio of their means over lines.
        """
        ends = np.array([self.first, self.second])
        higher = summit[top[ends]] / np.maximum(summit[ends], 1e-9)
        return float(min((np.array(self.heights) * higher).min(), summit[top[ends]].min()))

    def evidence(self, summit: float, height: float) -> float:
        """Return the logarithm of how much likelier a height between is with a dip than if all is as at the summit."""
        flat = summit * self.window
        between = min(height * self.window, flat)
        if flat < DIP * between or flat <= 0:
            return -np.inf
        dip = float(np.clip(max(self.expected, between), LEAST_BETWEEN * flat, flat / CLEAR_DIP))
        return between * np.log(dip / flat) - dip + flat


def _saddle(landscape: _Landscape, sizes: np.ndarray, first: int, second: int) -> _Saddle:
    distance, place, below = landscape.along(first, second)
    below = np.concatenate([[0.0], below])
    unit = np.sqrt(landscape.scale[[first, second]])
    apart = distance / unit.max()
    half = unit.max() * float(np.clip(max(apart / 7, apart / 2 - 1.75), 0.3, 2.0))
    centre = distance * np.concatenate([[0.0, 1.0], BETWEEN])
    counts = below[np.searchsorted(place, centre + half)] - below[np.searchsorted(place, centre - half)]
    thinnest = 2 + int(counts[2:].argmin())
    offset = centre[thinnest] - np.array([0.0, distance])
    expected = CYLINDER * sizes[[first, second]] @ (ndtr((offset + half) / unit) - ndtr((offset - half) / unit))
    density = counts / (2 * half)
    ends, middle = (density[0], density[1]), density[2 + len(BETWEEN) // 2]
    return _Saddle(first, second, distance, 2 * half, ends, density[thinnest], middle, float(expected))


def told_apart(found: Found, most: int) -> Int[np.ndarray, "components"]:
    """Return the class of each component, 0 …: those that no dip divides are one.

    Parameters
    ----------
    found : mixture, and the particles it is of.
    most : classes at most; beyond these, the least clearly divided are joined.
    """
    landscape = _Landscape.of(found)
    sizes = found.mixture.weight * found.seen.weight.sum()
    saddles = [_saddle(landscape, sizes, *pair) for pair in landscape.neighbours()]
    heights: list[list[float]] = [[] for _ in range(found.components)]
    for saddle in saddles:
        heights[saddle.first].append(saddle.heights[0])
        heights[saddle.second].append(saddle.heights[1])
    summit = np.array([np.mean(each) if each else 0.0 for each in heights])
    needed = -_prior_odds(saddles, summit)
    top = np.arange(found.components)  # the summit that each component belongs to
    divided = []
    for saddle in sorted(saddles, key=lambda saddle: -saddle.height):
        first, second = int(top[saddle.first]), int(top[saddle.second])
        if first == second:
            continue
        evidence = saddle.evidence(saddle.lesser_summit(summit, top), saddle.height)
        if evidence < needed:
            _join(top, summit, first, second)
        else:
            divided.append((evidence, saddle))
    for _, saddle in sorted(divided, key=lambda pair: pair[0]):
        if len(np.unique(top)) <= most:
            break
        if top[saddle.first] != top[saddle.second]:
            _join(top, summit, int(top[saddle.first]), int(top[saddle.second]))
    return np.unique(top, return_inverse=True)[1]


def _prior_odds(saddles: list[_Saddle], summit: np.ndarray) -> float:
    """Return the logarithm of the odds that neighbours are told apart, learnt from the nearest of all.

    One pair has the odds of a sceptic; where nearly all of many pairs are clearly divided, so is probably one with
    few particles.
    """
    tree = np.arange(len(summit))
    nearest = []
    for saddle in sorted(saddles, key=lambda saddle: saddle.distance):
        first, second = tree[saddle.first], tree[saddle.second]
        if first != second:
            tree[tree == second] = first
            nearest.append(saddle.evidence(saddle.lesser_summit(summit, np.arange(len(summit))), saddle.middle))
    evidence = np.clip(nearest, -50, 50)
    share = SCEPTICAL
    for _ in range(50):
        odds = np.exp(evidence) * share / (1 - share)
        share = (float((odds / (1 + odds)).sum()) + SCEPTICAL * DOUBTS) / (len(evidence) + DOUBTS)
    return float(np.log(share / (1 - share)))


def _join(top: np.ndarray, summit: np.ndarray, first: int, second: int) -> None:
    higher, lower = (first, second) if summit[first] >= summit[second] else (second, first)
    top[top == lower] = higher
