"""Classes joined where one volume predicts images that it was not made of as well as two do.

Of two classes a and b, volumes of each and of both together are made of one half-set and judged by the other. Over the
particles of both, with volumes of the half-set that a particle is not in and its contrast integrated over, either of

    Σ_i log p(x_i | V_ab) - log p(x_i | V_c(i)) > 0                               c(i) the class that i is in
    Σ_i log p(x_i | V_ab) - log [π_a p(x_i | V_a) + π_b p(x_i | V_b)] > 0         π the part of them in each class

joins them. One molecule that was cut in two is better predicted by the volume of twice the images, whereas two
molecules are not, however little they differ, by either; no count is needed of what is free in a volume. Why two: a
particle was sorted by its own noise, which makes much of the first where there are thousands of images; and where
images vary by more than the classes (errors of pose, or of the nearest point of the grid, which go with the view), two
volumes to choose from explain a little of that, which makes much of the second. There a loss of less than `TOLERANCE`
of what an image shows, log p(x | V_ab) - log p(x | noise alone), is none. Two classes of one molecule of which one is
stronger are one, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.special import expit

from libhetero.models.hype.latent.classes import Classes, ClassSums, integrated_likelihood
from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.volumes import Sums, signal_power, solved, sums_of

NEIGHBOURS = 5  # of each class, that it may be joined with
ROUNDS = 10
TOLERANCE = 1e-2
MANY = 10**9
FEW = 0.02  # part of the classes; when fewer are joined, that was the last round
LEAST = 1e-6  # of a direction's mean information
TOGETHER = 64  # pairs


@dataclass(frozen=True, eq=False)
class Contrast:
    """Of particles in their classes.

    Parameters
    ----------
    estimate : α of each.
    spread : s.
    """

    estimate: Float[np.ndarray, "particles"]
    spread: float


def near_pairs(classes: Classes, sums: ClassSums) -> Int[np.ndarray, "pairs 2"]:
    """Return pairs of classes that differ least, as a typical image of the set tells them apart."""
    if len(classes) < 2:
        return np.zeros((0, 2), np.int64)
    typical = sums.hessian[:, 1:, 1:].sum(axis=0) / max(sums.count.sum(), 1)
    place = classes.mean @ np.linalg.cholesky(typical + np.eye(len(typical)) * LEAST * np.trace(typical) / len(typical))
    return nearest_pairs(place)


def nearest_pairs(place: Float[np.ndarray, "classes numbers"]) -> Int[np.ndarray, "pairs 2"]:
    """Return each class with its nearest neighbours, two classes or more, by where they lie; each pair once."""
    square = (place**2).sum(axis=1)
    distance = square[:, None] + square - 2 * place @ place.T
    np.fill_diagonal(distance, np.inf)
    count = min(NEIGHBOURS, len(place) - 1)
    near = np.argsort(distance, axis=1)[:, :count]
    first = np.repeat(np.arange(len(place)), count)
    return np.unique(np.sort(np.stack([first, near.ravel()], axis=1), axis=1), axis=0)


def join_classes(
    seen: OnGrid,
    label: Int[np.ndarray, "particles"],
    pairs: Int[np.ndarray, "pairs 2"],
    contrast: Contrast,
    most: int = MANY,
) -> tuple[Int[np.ndarray, "particles"], int]:
    """Return the classes of particles with pairs joined, each class in one pair, and how many were.

    Parameters
    ----------
    seen : slices.
    label : class of each particle, -1 for none.
    pairs : to be judged.
    contrast : of the particles in these classes.
    most : pairs that gain are joined, and while more classes than these are left, the best of the others.
    """
    classes = int(label.max(initial=-1)) + 1
    if not len(pairs):
        return label, 0
    gain, count = _gains(seen, label, pairs, classes, contrast)
    target, joined = np.arange(classes), 0
    used: set[int] = set()
    for one in np.argsort(-gain / count):
        first, second = (int(each) for each in pairs[one])
        if gain[one] <= 0 and classes - joined <= most:
            break
        if not {first, second} & used:
            used |= {first, second}
            target[second] = first
            joined += 1
    kept = np.unique(target)
    number = np.searchsorted(kept, target)
    return np.where(label < 0, -1, number[label]), joined


def held_out_likelihood(
    seen: OnGrid, label: Int[np.ndarray, "particles"], contrast: Contrast
) -> Float[np.ndarray, "particles"]:
    """Return log p(x | V) - log p(x | noise alone) of each particle, V of its class and of the other half-set.

    What is fitted to noise says nothing of other noise: the sum over a class that shows nothing is below 0.

    Parameters
    ----------
    seen, label, contrast : as in `join_classes`; 0 where a particle is in no class.
    """
    classes = int(label.max(initial=-1)) + 1
    sums = sums_of(seen.scaled(contrast.estimate), label, classes)
    images, own = _Images(seen, label, classes, contrast.spread), np.zeros(len(seen))
    for one, volumes in _volumes(sums, seen, signal_power(sums, seen.grid)):
        for half in (0, 1):
            rows = images.members(one, half)
            own[rows] = images.likelihood(rows, volumes[1 - half])
    return own


def unsure(
    seen: OnGrid, label: Int[np.ndarray, "particles"], pairs: Int[np.ndarray, "pairs 2"], sums: Sums, spread: float
) -> Float[np.ndarray, "pairs"]:
    """Return the mean probability, over the images of two classes, of the less probable of the two.

    Volumes are those of the half-set that an image is not in.

    Parameters
    ----------
    seen : slices, the contrast of each particle in its transfer.
    label, pairs : as in `join_classes`.
    sums : of the classes.
    spread : of contrast.
    """
    classes = len(sums.weight)
    images, found = _Images(seen, label, classes, spread), np.zeros(len(pairs))
    share = np.log(np.bincount(label[label >= 0], minlength=classes) + 1)
    volumes = np.stack([each for _, each in _volumes(sums, seen, signal_power(sums, seen.grid))])
    for place, pair in enumerate(pairs):
        less = []
        for half in (0, 1):
            rows = np.concatenate([images.members(int(one), half) for one in pair])
            joint = [images.likelihood(rows, volumes[one, 1 - half]) + share[one] for one in pair]
            less.append(expit(-np.abs(joint[0] - joint[1])))
        found[place] = np.concatenate(less).mean()
    return found


def _gains(
    seen: OnGrid, label: np.ndarray, pairs: np.ndarray, classes: int, contrast: Contrast
) -> tuple[Float[np.ndarray, "pairs"], Float[np.ndarray, "pairs"]]:
    """Return the gain of each pair, and how many particles it is of."""
    sums = sums_of(seen.scaled(contrast.estimate), label, classes)
    signal = signal_power(sums, seen.grid)
    images = _Images(seen, label, classes, contrast.spread)
    alone = np.stack([volumes for _, volumes in _volumes(sums, seen, signal)])
    gain, count = np.zeros((2, len(pairs)))
    for start in range(0, len(pairs), TOGETHER):
        part = pairs[start : start + TOGETHER]
        for place, both in _volumes(sums.of_pairs(*part.T), seen, signal):
            halves = [_compared(images, part[place], half, alone[:, 1 - half], both[1 - half]) for half in (0, 1)]
            together, sorted_apart, mixed, particles = np.sum(halves, axis=0)
            gain[start + place] = together - min(sorted_apart, mixed - TOLERANCE * max(together, 0))
            count[start + place] = particles
    return gain, np.maximum(count, 1)


def _compared(
    images: _Images, pair: np.ndarray, half: int, alone: np.ndarray, both: np.ndarray
) -> tuple[float, float, float, float]:
    """Return the log-likelihoods of the particles of a pair in one half-set, and how many they are.

    They are: of the joint volume, of the volume of each particle's class, and of a mixture of the two volumes.
    """
    members = [images.members(int(one), half) for one in pair]
    rows, first = np.concatenate(members), len(members[0])
    share = np.log([(len(one) + 1) / (len(rows) + 2) for one in members])
    apart = [images.likelihood(rows, alone[one]) for one in pair]
    own = apart[0][:first].sum() + apart[1][first:].sum()
    mixed = np.logaddexp(share[0] + apart[0], share[1] + apart[1]).sum()
    return float(images.likelihood(rows, both).sum()), float(own), float(mixed), float(len(rows))


def _volumes(
    sums: Sums, seen: OnGrid, signal: np.ndarray
) -> Iterator[tuple[int, Complex[np.ndarray, "halves points"]]]:
    """Yield the place of each class and the volumes of its half-sets."""
    for start in range(0, len(sums.weight), TOGETHER):
        yield from enumerate(solved(sums.take(slice(start, start + TOGETHER)), seen.grid, signal), start)


class _Images:
    """Particles by class and half-set, on the host."""

    def __init__(self, seen: OnGrid, label: np.ndarray, classes: int, spread: float) -> None:
        self._spread = spread
        row = np.where(label < 0, 2 * classes, 2 * label + seen.half)
        self._order = np.argsort(row, kind="stable")
        self._edges = np.searchsorted(row[self._order], np.arange(2 * classes + 1))
        self._point, self._image, self._transfer = (
            np.asarray(part) for part in (seen.point, seen.image, seen.transfer)
        )

    def members(self, one: int, half: int) -> Int[np.ndarray, "members"]:
        """Return the particles of a class in a half-set."""
        row = 2 * one + half
        return self._order[self._edges[row] : self._edges[row + 1]]

    def likelihood(
        self, rows: Int[np.ndarray, "members"], volume: Complex[np.ndarray, "points"]
    ) -> Float[np.ndarray, "members"]:
        """Return log p(x | volume) - log p(x | noise alone) of some particles."""
        expected = self._transfer[rows] * volume[self._point[rows]]
        linear = 2 * (expected.conj() * self._image[rows]).real.sum(axis=1)
        square = 2 * (expected.real**2 + expected.imag**2).sum(axis=1)
        integrated: np.ndarray = integrated_likelihood(linear, square, self._spread, np)
        return integrated
