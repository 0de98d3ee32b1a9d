"""Many classes regrouped image by image: each goes to the class whose other images predict it best.

In a subspace of fewer directions than there are molecules many share a place, and k-means of places finds a part of
them. From there, with the volume of each class integrated over (`predictive`):

1. every image goes to the likeliest of all classes, then, a few times, to the likeliest of some that were likely;
2. two classes become one where log p(both) > log p(first) + log p(second) - log (n choose n₁) - log N, the last two
   being what it takes to say which of their n images are of the first, and that N images have one class more;
3. a class becomes two where that is so the other way round. The halves to begin with are cut across the places of its
   images in the subspace, along the direction in which these lie apart most or that of two of them that are drawn, and
   regrouped among themselves.

First on low rings, where an image against a class is cheap, then on more, where only likely classes are asked.

A pixel takes the value of the nearest point of the grid, which is off by δ in each axis, uniformly within half a point:
at r from the centre of the box the phase is off by 2π δ·r, so that with R the root mean square radius of a molecule

    ε = E |1 - exp(2πi δ·r)|² ≈ (π² / 3) (R / oversampling)²

of the signal's power t is lost to the view. Images of strong signal are split into classes of one view each by that, as
their evidence asks for it. So what is lost counts as noise, of variance τ² ε t, in the last joins. Before, it does not:
it would take what tells small classes apart while they are found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from libhetero.models.hype.latent.grid import OnGrid, few_sizes, one_pixel_a_point
from libhetero.models.hype.latent.predictive import (
    ClassTables,
    Predicted,
    Sorted,
    against_all,
    against_some,
    class_tables,
)
from libhetero.models.hype.latent.splits import LEAST, cost_of_two
from libhetero.models.hype.latent.volumes import places_among, signal_power, sums_of

LOGGER = logging.getLogger(__name__)
CANDIDATES = 24  # classes of an image that are asked again
REPEATS = 4  # rounds among these
SWEEPS = 3, 1  # on low rings: times that all classes are asked before joins and splits, round by round
ROUNDS, LAST_ROUNDS = 5, 10  # on more rings: with splits, and of joins alone
SETTLED = 5e-3  # part of the images that may still change their class
NEAR = 6  # classes that a class may be joined with
SPLIT_STEPS = 6
SPLIT_SETTLED = 2e-3
STARTS = 3  # ways to halve a class
RADIUS = 0.2  # R, as a part of the box


@dataclass(frozen=True, eq=False)
class _Search:
    """Slices of one number of rings, and what the search knows of their images.

    Parameters
    ----------
    seen : slices.
    signal : t, the signal's power at each point.
    place : of each image in a subspace.
    """

    seen: OnGrid
    signal: Float[np.ndarray, "points"]
    place: Float[np.ndarray, "particles rank"]

    @classmethod
    def of(cls, seen: OnGrid, place: np.ndarray, now: Sorted) -> _Search:
        """Return the search, the signal measured between half-sets of the classes."""
        sums = sums_of(seen.scaled(now.contrast), now.label, int(now.label.max()) + 1)
        return cls(seen, signal_power(sums, seen.grid), place)

    @property
    def inverse(self) -> Float[np.ndarray, "points"]:
        """1 / t."""
        return (1 / self.signal).astype(np.float32)

    def tables(self, label: np.ndarray, classes: int, now: Sorted) -> ClassTables:
        """Return the sums of classes, by which images are sorted."""
        return class_tables(self.seen, label, few_sizes(classes), self.inverse, now.contrast)

    def cautious_tables(self, label: np.ndarray, classes: int, now: Sorted) -> ClassTables:
        """Return the sums of classes with what is lost to the view as noise, by which these are joined in the end."""
        seen, lost = self.seen, np.pi**2 / 3 * (RADIUS / self.seen.grid.oversampling) ** 2
        deviation = jnp.sqrt(1 + lost * seen.transfer**2 * jnp.asarray(self.signal)[seen.point])
        cautious = OnGrid(seen.grid, seen.point, seen.image / deviation, seen.transfer / deviation)
        return class_tables(cautious, label, few_sizes(classes), self.inverse, now.contrast)


def regrouped(
    low: OnGrid,
    high: OnGrid,
    label: Int[np.ndarray, "particles"],
    place: Float[np.ndarray, "particles rank"],
    spread: float,
    seed: int,
    progress: Callable[[float], None],
) -> Int[np.ndarray, "particles"]:
    """Return better classes.

    Parameters
    ----------
    low, high : slices of few rings and of more.
    label : class of each image, 0 …
    place : of each image in a subspace.
    spread : of contrast, to begin with.
    seed : of what is drawn.
    progress : called with the fraction done.
    """
    rng = np.random.default_rng(seed)
    low, high = one_pixel_a_point(low), one_pixel_a_point(high)
    now = Sorted(_numbered(label), np.ones(len(label), np.float32), spread)
    stages = [(low, sweep) for sweep in SWEEPS] + [(high, 1)] * ROUNDS
    for number, (seen, sweeps) in enumerate(stages):
        asked = _Search.of(low, place, now)
        search = asked if seen is low else _Search.of(high, place, now)
        for _ in range(sweeps):
            now, found = _swept(asked, search, now)
        now, joined = _joined(now, found, search.tables)
        now, split = _split(search, now, rng)
        progress((number + 1) / (len(stages) + 1))
        LOGGER.info("to ring %g: %d classes joined, %d split; %d", seen.grid.ring, joined, split, now.label.max() + 1)
        if seen is high and not joined + split:
            break
    asked, search = _Search.of(low, place, now), _Search.of(high, place, now)
    for _ in range(LAST_ROUNDS):
        now, found = _swept(asked, search, now)
        now, joined = _joined(now, found, search.cautious_tables)
        if not joined:
            break
    progress(1.0)
    return now.label


def _swept(asked: _Search, search: _Search, now: Sorted) -> tuple[Sorted, Predicted]:
    """Return images in the likeliest of all classes, then of likely ones until they hardly change, and what was found.

    Parameters
    ----------
    asked, search : on the rings on which all classes are asked, and on which likely ones are.
    now : the classes.
    """
    classes = int(now.label.max()) + 1
    found = against_all(asked.seen, asked.tables(now.label, classes, now), now, CANDIDATES)
    if asked.seen.grid == search.seen.grid:
        now = _moved(now, found)
    for _ in range(REPEATS):
        found = _with_their_own(found, now.label)
        found = against_some(search.seen, search.tables(now.label, classes, now), now, found.candidate)
        changed = np.mean(found.label != now.label)
        now = _moved(now, found)
        if changed < SETTLED:
            break
    used = np.unique(now.label)
    candidate = places_among(found.candidate.ravel(), used).reshape(found.candidate.shape)
    return Sorted(places_among(now.label, used), now.contrast, now.spread), replace(found, candidate=candidate)


def _with_their_own(found: Predicted, label: Int[np.ndarray, "particles"]) -> Predicted:
    """Return what was found, with the class of each image among its candidates in place of the least likely."""
    candidate = found.candidate.copy()
    missing = ~(candidate == label[:, None]).any(axis=1)
    candidate[missing, -1] = label[missing]
    return replace(found, candidate=candidate)


def _moved(now: Sorted, found: Predicted) -> Sorted:
    """Return images in their likeliest classes, with their contrasts."""
    return Sorted(found.label, found.contrast.astype(np.float32), now.spread)


def _numbered(label: Int[np.ndarray, "particles"]) -> Int[np.ndarray, "particles"]:
    """Return labels without gaps."""
    found: np.ndarray = np.unique(label, return_inverse=True)[1]
    return found


def _joined(
    now: Sorted, found: Predicted, tables_of: Callable[[np.ndarray, int, Sorted], ClassTables]
) -> tuple[Sorted, int]:
    """Return classes with pairs joined that images like to change between, each in one pair, and how many were.

    Parameters
    ----------
    now : the classes.
    found : of their images.
    tables_of : what the evidence is told by.
    """
    classes = int(now.label.max()) + 1
    if classes < 2:
        return now, 0
    pairs = _near_pairs(now.label, found.candidate, classes)
    tables, count = (tables_of(now.label, classes, now), np.bincount(now.label, minlength=classes).astype(float))
    evidence, (first, second) = tables.evidence(), pairs.T
    gain = tables.joined_evidence(first, second) - evidence[first] - evidence[second]
    gain += cost_of_two(count[first], count[second], len(now.label))
    target, used, joined = np.arange(classes), np.zeros(classes, bool), 0
    for one in np.argsort(-gain):
        if gain[one] <= 0:
            break
        if not used[pairs[one]].any():
            used[pairs[one]] = True
            target[second[one]] = first[one]
            joined += 1
    return Sorted(_numbered(target[now.label]), now.contrast, now.spread), joined


def _near_pairs(
    label: Int[np.ndarray, "particles"], candidate: Int[np.ndarray, "particles candidates"], classes: int
) -> Int[np.ndarray, "pairs 2"]:
    """Return each class with those that its images are likeliest to be of else; each pair once."""
    near = np.zeros((classes, classes), np.float32)
    for place in range(min(NEAR, candidate.shape[1])):
        known = candidate[:, place] >= 0
        np.add.at(near, (label[known], candidate[known, place]), 1 / (1 + place))
    near /= np.maximum(np.bincount(label, minlength=classes), 1)[:, None]
    near += near.T
    np.fill_diagonal(near, -np.inf)  # no class is its own neighbour
    count = min(NEAR, classes - 1)
    second = np.argpartition(-near, count - 1, axis=1)[:, :count]
    first = np.repeat(np.arange(classes), count)
    met = near[first, second.ravel()] > 0
    pairs: np.ndarray = np.unique(np.sort(np.stack([first, second.ravel()], axis=1)[met], axis=1), axis=0)
    return pairs


def _split(search: _Search, now: Sorted, rng: np.random.Generator) -> tuple[Sorted, int]:
    """Return classes, those split whose evidence asks for it, and how many were."""
    classes = int(now.label.max()) + 1
    alone = search.tables(now.label, classes, now).evidence()[:classes]
    best, sides = np.zeros(classes), np.zeros(len(now.label), np.int64)
    for drawn in range(STARTS):
        side = _regrouped_halves(search, now, _halves(search.place, now.label, classes, rng if drawn else None))
        halves = 2 * now.label + side
        evidence = search.tables(halves, 2 * classes, now).evidence()[: 2 * classes].reshape(classes, 2)
        count = np.bincount(halves, minlength=2 * classes).reshape(classes, 2).astype(float)
        gain = evidence.sum(axis=1) - alone - cost_of_two(count[:, 0], count[:, 1], len(now.label))
        better = (gain > best) & (count.min(axis=1) >= LEAST)
        best[better] = gain[better]
        sides = np.where(better[now.label], side, sides)
    split = np.flatnonzero(best > 0)
    number = np.full(classes, -1)
    number[split] = classes + np.arange(len(split))
    moved = (number[now.label] >= 0) & (sides == 1)
    label = np.where(moved, number[now.label], now.label)
    return Sorted(_numbered(label), now.contrast, now.spread), len(split)


def _halves(
    place: Float[np.ndarray, "particles rank"],
    label: Int[np.ndarray, "particles"],
    classes: int,
    rng: np.random.Generator | None,
) -> Int[np.ndarray, "particles"]:
    """Return one of two sides for each image, by its place along a line through those of its class.

    Parameters
    ----------
    place, label : of each image.
    classes : how many.
    rng : draws two images that the line joins; None for the line along which the class is longest.
    """
    order = np.argsort(label, kind="stable")
    edges, side = np.searchsorted(label[order], np.arange(classes + 1)), np.zeros(len(label), np.int64)
    for one in range(classes):
        members = order[edges[one] : edges[one + 1]]
        if len(members) < 2 * LEAST:
            continue
        off = place[members] - place[members].mean(axis=0)
        if rng is None:
            along = np.linalg.eigh(off.T @ off)[1][:, -1]
        else:
            first, second = rng.choice(len(members), 2, replace=False)
            along = off[first] - off[second]
        at = off @ along
        side[members] = at > np.median(at)
    return side


def _regrouped_halves(search: _Search, now: Sorted, side: Int[np.ndarray, "particles"]) -> Int[np.ndarray, "particles"]:
    """Return the sides of images that went to the half whose other images predict them best, a few times."""
    candidate = 2 * now.label[:, None] + np.arange(2)
    for _ in range(SPLIT_STEPS):
        halves = Sorted(2 * now.label + side, now.contrast, now.spread)
        tables = search.tables(halves.label, int(halves.label.max()) + 1, now)
        before, side = side, against_some(search.seen, tables, halves, candidate).label % 2
        if np.mean(side != before) < SPLIT_SETTLED:
            break
    return side
