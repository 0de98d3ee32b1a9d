"""Many classes regrouped image by image: each goes to the class whose other images predict it best.

In a subspace of fewer directions than there are molecules many share a place, and k-means of places finds a part of
them. From there, with volumes confined to a ball that predict the images that they were not made of (`predictive`):

1. every image goes to the likeliest of all classes, a few times;
2. two classes become one where that raises Σ log p(x | class) + log (part of the images in the class) over their
   images; the last term says for each image which of the two it is of, and is what sorting is worth;
3. a class becomes two where that raises it by more than log N, N images having one class more. The halves to begin with
   are cut across the places of its images in the subspace, along the direction in which these lie apart most or that of
   two of them that are drawn, and regrouped among themselves.

First on low rings, where an image against a class is cheap, then on more. The ball is the one of `BALLS` in which the
volumes of the classes predict images best: how large molecules are is not known.

A pixel takes the value of the nearest point of the grid, which is off by δ in each axis, uniformly within half a point:
at r from the centre of the box the phase is off by 2π δ·r, so that with R the root mean square radius of a molecule

    ε = E |1 - exp(2πi δ·r)|² ≈ (π² / 3) (R / oversampling)²

of the signal's power t is lost to the view. Images of strong signal are split into classes of one view each by that, as
those predict each other better. So no volume counts as closer to an image than that in the last joins. Before, it does:
it would take what tells small classes apart while they are found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.predictive import Folded, Predicted, Sorted, against_all, against_some, own_joint
from libhetero.models.hype.latent.splits import LEAST
from libhetero.models.hype.latent.volumes import places_among, signal_power, sums_of

LOGGER = logging.getLogger(__name__)
BALLS = (0.4, 0.32, 0.26)  # radii, as a part of the box
CANDIDATES = 8  # classes of an image that are told
LOW_SWEEPS, HIGH_SWEEPS = (3, 2, 2, 2), (2, 2)  # times that all classes are asked before joins and splits, by round
LAST_ROUNDS = 3  # of joins alone
NEAR, NEAR_NATS = 3, 8.0  # classes that a class may be joined with, and what its images lose there, each, at most
SPLIT_STEPS = 6
SPLIT_SETTLED = 2e-3
STARTS = 3  # ways to halve a class
SAME = 0.9  # part of a class that is as it was when no halves were found
RADIUS = 0.2  # R, as a part of the box


@dataclass(frozen=True, eq=False)
class _Search:
    """Slices of one number of rings, and what the search knows of their images.

    Parameters
    ----------
    folded : slices.
    place : of each image in a subspace.
    """

    folded: Folded
    place: Float[np.ndarray, "particles rank"]

    @property
    def cautious(self) -> Folded:
        """The slices, no volume closer to an image than its nearest points let it be."""
        lost = np.pi**2 / 3 * (RADIUS / self.folded.grid.oversampling) ** 2
        return replace(self.folded, least_off=lost)


def folded_by(seen: OnGrid, now: Sorted) -> Folded:
    """Return slices in parts, in the ball in which volumes predict images best.

    Parameters
    ----------
    seen : slices.
    now : the classes, between half-sets of which the signal's power is measured.
    """
    sums = sums_of(seen.scaled(now.contrast), now.label, int(now.label.max()) + 1)
    folded = Folded.of(seen, signal_power(sums, seen.grid))
    tried = [folded.in_ball(ball) for ball in BALLS]
    return tried[int(np.argmax([own_joint(one, now).mean() for one in tried]))]


def regrouped(
    low: OnGrid,
    high: OnGrid,
    label: Int[np.ndarray, "particles"],
    place: Float[np.ndarray, "particles rank"],
    spread: float,
    seed: int,
    progress: Callable[[float], None],
) -> tuple[Folded, Sorted]:
    """Return slices of more rings, and better classes of them.

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
    now = Sorted(_numbered(label), np.ones(len(label), np.float32), spread)
    tried = np.full(len(label), -1)
    stages = [(seen, sweeps) for seen, rounds in ((low, LOW_SWEEPS), (high, HIGH_SWEEPS)) for sweeps in rounds]
    for number, (seen, sweeps) in enumerate(stages):
        search = _Search(folded_by(seen, now), place)
        for _ in range(sweeps):
            now, found = _swept(search.folded, now)
        now, joined = _joined(search.folded, now, found)
        now, split, tried = _split(search, now, rng, tried)
        progress((number + 1) / (len(stages) + 1))
        LOGGER.info(
            "to ring %g in a ball of %g of the box: %d classes joined, %d split; %d",
            seen.grid.ring,
            search.folded.grid.ball,
            joined,
            split,
            now.label.max() + 1,
        )
    search = _Search(folded_by(high, now), place)
    for _ in range(LAST_ROUNDS):
        now, found = _swept(search.folded, now)
        now, joined = _joined(search.cautious, now, found)
        if not joined:
            break
    progress(1.0)
    return search.folded, now


def _swept(folded: Folded, now: Sorted) -> tuple[Sorted, Predicted]:
    """Return images in the likeliest of all classes, and what was found, classes without images gone."""
    found = against_all(folded, now, CANDIDATES)
    used = np.unique(found.label)
    candidate = places_among(found.candidate.ravel(), used).reshape(found.candidate.shape)
    found = replace(found, candidate=candidate)
    return Sorted(found.label, found.contrast.astype(np.float32), now.spread), found


def _numbered(label: Int[np.ndarray, "particles"]) -> Int[np.ndarray, "particles"]:
    """Return labels without gaps."""
    found: np.ndarray = np.unique(label, return_inverse=True)[1]
    return found


def _of_some(folded: Folded, now: Sorted, label: Int[np.ndarray, "particles"]) -> Float[np.ndarray, "particles"]:
    """Return what `own_joint` says of images in other classes, 0 of those in none; parts are of all images.

    Parameters
    ----------
    folded : slices.
    now : contrasts of the images.
    label : class of each, -1 for those that are left out.
    """
    rows, joint = np.flatnonzero(label >= 0), np.zeros(len(label))
    if len(rows):
        some = Sorted(label[rows], now.contrast[rows], now.spread)
        joint[rows] = own_joint(folded.take(rows), some) + np.log(len(rows) / len(label))
    return joint


def _joined(folded: Folded, now: Sorted, found: Predicted) -> tuple[Sorted, int]:
    """Return classes with pairs joined, each in one pair, the nearest first, and how many were.

    Parameters
    ----------
    folded : slices, by which classes are judged.
    now : the classes.
    found : of their images.
    """
    classes = int(now.label.max()) + 1
    pairs = _near_pairs(now.label, found, classes)
    if not len(pairs):
        return now, 0
    alone, target = np.bincount(now.label, own_joint(folded, now), classes), np.arange(classes)
    while len(pairs):
        chosen = _apart(pairs, classes)
        asked = pairs[chosen]
        own = np.full(classes, -1)
        own[asked] = np.arange(len(asked))[:, None]
        both = own[now.label]
        inside = both >= 0
        together = np.bincount(both[inside], _of_some(folded, now, both)[inside])
        good = asked[together > alone[asked].sum(axis=1)]
        target[good[:, 1]] = good[:, 0]
        pairs = pairs[~chosen & ~np.isin(pairs, good).any(axis=1)]
    joined = classes - len(np.unique(target))
    return Sorted(_numbered(target[now.label]), now.contrast, now.spread), joined


def _apart(pairs: Int[np.ndarray, "pairs 2"], classes: int) -> Bool[np.ndarray, "pairs"]:
    """Return which pairs have no class in common with an earlier one of these."""
    used, chosen = np.zeros(classes, bool), np.zeros(len(pairs), bool)
    for place, pair in enumerate(pairs):
        if not used[pair].any():
            used[pair] = chosen[place] = True
    return chosen


def _near_pairs(label: Int[np.ndarray, "particles"], found: Predicted, classes: int) -> Int[np.ndarray, "pairs 2"]:
    """Return each class with the few that its images lose least in, little; each pair once, the nearest first.

    Images of which a class is not among the likeliest lose what they do in the least likely of those.
    """
    lost = found.joint[:, :1] - found.joint
    count = np.maximum(np.bincount(label, minlength=classes), 1)
    beyond = np.bincount(label, lost[:, -1], classes)
    total = np.repeat((beyond / count)[:, None], classes, axis=1)
    for place in range(found.candidate.shape[1]):
        known = found.candidate[:, place] >= 0
        at = label[known], found.candidate[known, place]
        np.add.at(total, at, (lost[known, place] - lost[known, -1]) / count[label[known]])
    total = np.minimum(total, total.T)
    np.fill_diagonal(total, np.inf)  # no class is its own neighbour
    most = min(NEAR, classes - 1)
    if most < 1:
        return np.zeros((0, 2), np.int64)
    second = np.argpartition(total, most - 1, axis=1)[:, :most]
    first = np.repeat(np.arange(classes), most)
    near = total[first, second.ravel()] < NEAR_NATS
    pairs = np.unique(np.sort(np.stack([first, second.ravel()], axis=1)[near], axis=1), axis=0)
    nearest: np.ndarray = pairs[np.argsort(total[tuple(pairs.T)], kind="stable")]
    return nearest


def _split(
    search: _Search, now: Sorted, rng: np.random.Generator, tried: Int[np.ndarray, "particles"]
) -> tuple[Sorted, int, Int[np.ndarray, "particles"]]:
    """Return classes, those split whose images are better predicted by two, how many were, and which were not.

    Parameters
    ----------
    search : slices, and the images' places.
    now : the classes.
    rng : of what is drawn.
    tried : class that each image was in when no halves of that were better; -1 for none.
    """
    classes, folded = int(now.label.max()) + 1, search.folded
    count = np.bincount(now.label, minlength=classes)
    asked = (count >= 2 * LEAST) & ~_as_before(now.label, tried, classes)
    label = np.where(asked[now.label], now.label, -1)
    inside = label >= 0
    best, sides = np.zeros(classes), np.zeros(len(label), np.int64)
    if inside.any():
        alone = np.bincount(label[inside], _of_some(folded, now, label)[inside], classes)
        for drawn in range(STARTS):
            side = _regrouped_halves(search, now, label, _halves(search.place, label, classes, rng if drawn else None))
            halves = np.where(inside, 2 * label + side, -1)
            joint = _of_some(folded, now, halves)
            gain = np.bincount(label[inside], joint[inside], classes) - alone - np.log(len(label))
            least = np.bincount(halves[inside], minlength=2 * classes).reshape(classes, 2).min(axis=1)
            better = (gain > best) & (least >= LEAST)
            best[better] = gain[better]
            sides = np.where(better[now.label], side, sides)
    split = np.flatnonzero(best > 0)
    number = np.full(classes, -1)
    number[split] = classes + np.arange(len(split))
    moved = (number[now.label] >= 0) & (sides == 1)
    tried = np.where(number[now.label] >= 0, -1, now.label)
    return Sorted(np.where(moved, number[now.label], now.label), now.contrast, now.spread), len(split), tried


def _as_before(
    label: Int[np.ndarray, "particles"], tried: Int[np.ndarray, "particles"], classes: int
) -> Bool[np.ndarray, "classes"]:
    """Return which classes are, but for few images, what they were when no halves of them were better."""
    before = int(tried.max(initial=-1)) + 1
    if not before:
        return np.zeros(classes, bool)
    known = tried >= 0
    shared = np.zeros((classes, before), np.int32)
    np.add.at(shared, (label[known], tried[known]), 1)
    now, then = np.bincount(label, minlength=classes), np.bincount(tried[known], minlength=before)
    nearest = shared.argmax(axis=1)
    same = shared[np.arange(classes), nearest] >= SAME * np.maximum(now, then[nearest])
    return same & (now > 0)


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


def _regrouped_halves(
    search: _Search, now: Sorted, label: Int[np.ndarray, "particles"], side: Int[np.ndarray, "particles"]
) -> Int[np.ndarray, "particles"]:
    """Return the sides of images that went to the half whose other images predict them best, a few times.

    Parameters
    ----------
    search, now : as of `_split`.
    label : class of each image, -1 for those that are left out.
    side : of each image, to begin with.
    """
    rows = np.flatnonzero(label >= 0)
    own, at, side = _numbered(label[rows]), search.folded.take(rows), side.copy()
    candidate = 2 * own[:, None] + np.arange(2)
    for _ in range(SPLIT_STEPS):
        halves = Sorted(2 * own + side[rows], now.contrast[rows], now.spread)
        found = against_some(at, halves, candidate).label % 2
        changed = np.mean(found != side[rows])
        side[rows] = found
        if changed < SPLIT_SETTLED:
            break
    return side
