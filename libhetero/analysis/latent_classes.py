"""Classes of particles by their latents: how many there are, which each is in, and how sure that is.

    found = classes_of(latent, deviation)
    found.count          1 where particles are not told apart: one blob, or a continuum
    found.label          class of each particle
    found.probability    of that class being right

A mixture of Gaussians is fitted (`mixture.py`), of as many components as the particles can tell
(`component_search.py`), along the directions in which they differ (`measured.py`); components that no dip divides are
one class (`told_apart.py`). A class may thus be curved, or have long tails, and a circle or an arc is one. How probable
a particle's class is, is said by all other particles (`predictive.py`).

For a region, give its coordinates: `classes_of(coordinates, deviation)`; a count of 1 says that its particles are one
class, whose coordinate may still be worth drawing.

Where latents are posterior means m of a prior N(0, 1) with deviations s, each is drawn towards 0 by the factor 1 - s²
of its own; `without_prior` takes that out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.analysis.classes import kmeans_classes
from libhetero.analysis.component_search import Found, find_components, fit_components
from libhetero.analysis.measured import Measured, measured_particles
from libhetero.analysis.predictive import Predictive
from libhetero.analysis.told_apart import told_apart

LARGEST_SAMPLE = 30_000  # particles that a mixture is fitted to
BLOCK = 20_000
LARGEST_BLOCK = 4_000_000  # particles × components whose probabilities are in memory at once
SPARE = 64  # components that a continuum may take beyond the classes asked for
STEPS = 25
MOST = 1000
MOST_KEPT = 32  # classes, of which each particle's probabilities are kept


@dataclass(frozen=True, eq=False)
class Classes:
    """What classes there are.

    Parameters
    ----------
    label : class of each particle, 0 …, numbered by the mean of the first coordinate, lowest first.
    probability : that the particle is of its class, by all others.
    count : classes; 1 where particles are not told apart.
    components : Gaussians of the mixture; more than classes where these are not Gaussian.
    directions : numbers that tell the classes apart, of all that a latent has; 0 for one class of one Gaussian.
    probabilities : of every class, by all others; they add up to 1. None for one class, or more than `MOST_KEPT`.
    """

    label: Int[np.ndarray, "particles"]
    probability: Float[np.ndarray, "particles"]
    count: int
    components: int
    directions: int
    probabilities: Float[np.ndarray, "particles classes"] | None = None

    def of_images(self, particle: Int[np.ndarray, "images"]) -> Classes:
        """Return the same for each image, given which of the particles it shows."""
        every = None if self.probabilities is None else self.probabilities[particle]
        return replace(self, label=self.label[particle], probability=self.probability[particle], probabilities=every)


def classes_of(
    points: Float[np.ndarray, "particles numbers"],
    deviation: Float[np.ndarray, "particles numbers"] | None = None,
    classes: int | None = None,
    most: int = MOST,
    seed: int = 0,
    weight: Float[np.ndarray, "particles"] | None = None,
) -> Classes:
    """Return the classes that particles are in by their latents.

    Parameters
    ----------
    points : latents, or coordinates of a region.
    deviation : standard deviation of the error of each number; None, or NaN throughout, where nobody knows.
    classes : how many, found by k-means and then fitted; None to find as many as are told apart.
    most : classes at most where they are found.
    seed : of samples and starting centres.
    weight : how much each particle counts, such as 1 less its probability of being junk; None for 1. Those of weight 0
        are left out of the fit, and have a class nevertheless.
    """
    count = len(points)
    known = None if deviation is None or not np.isfinite(deviation).any() else _finite(deviation)
    weight = np.ones(count) if weight is None else np.asarray(weight, np.float64)
    chosen = _sample(weight > 0, seed)
    measured = None
    if points.shape[1] and len(chosen):
        measured = measured_particles(points[chosen], None if known is None else known[chosen], weight[chosen], seed)
    if measured is None or classes == 1:
        return _one(count)
    particles, order = measured
    if classes is not None:
        return _so_many(points, known, particles, chosen[order], classes, seed)
    found = find_components(particles, max(int(1.3 * most), most + SPARE), seed)
    if found is None:
        return _one(count)
    return _classified(points, known, particles, chosen[order], found, told_apart(found, most))


def without_prior(
    mean: Float[np.ndarray, "particles numbers"], deviation: Float[np.ndarray, "particles numbers"]
) -> tuple[Float[np.ndarray, "particles numbers"], Float[np.ndarray, "particles numbers"]]:
    """Return what a particle's image says of its latent without the prior N(0, 1): estimate and deviation.

    The posterior precision 1/s² is that of the image and the prior's 1 together, so the estimate is m / (1 - s²), and
    its variance s² / (1 - s²). Images that say next to nothing are left at a variance of 100.

    Parameters
    ----------
    mean, deviation : of the posterior; deviations below 1.
    """
    variance = np.square(deviation)
    left = np.maximum(1 - variance, 1 / 101)
    return mean / left, np.sqrt(variance / left)


def _finite(deviation: np.ndarray) -> np.ndarray:
    """Return deviations with the largest known in place of those that are not finite."""
    finite = np.isfinite(deviation)
    largest = np.where(finite, deviation, 0).max(axis=0)
    return np.where(finite, deviation, largest)


def _sample(counted: Bool[np.ndarray, "particles"], seed: int) -> Int[np.ndarray, "chosen"]:
    """Return the particles that count, or so many of them, in rising order."""
    rows = np.flatnonzero(counted)
    if len(rows) <= LARGEST_SAMPLE:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, LARGEST_SAMPLE, replace=False))


def _one(count: int) -> Classes:
    return Classes(np.zeros(count, int), np.ones(count), 1, 1, 0)


def _so_many(
    points: np.ndarray, deviation: np.ndarray | None, particles: Measured, rows: np.ndarray, classes: int, seed: int
) -> Classes:
    """Return as many classes as asked for: k-means, then the mixture fitted from there.

    Where the mixture leaves a class without particles, which nothing then tells from others, k-means has the word and
    the mixture says how probable that is.
    """
    label = kmeans_classes(points, classes, seed)
    start = np.unique(label[rows], return_inverse=True)[1]
    found = fit_components(particles, start, STEPS, least=1) if start.max() else None
    if found is None:
        return _one(len(points))
    asked = np.unique(label[rows])
    fitted = _classified(points, deviation, particles, rows, found, np.arange(found.components))
    if fitted.count == len(asked):
        return fitted
    return _classified(
        points, deviation, particles, rows, found, np.arange(found.components), np.searchsorted(asked, label)
    )


def _classified(
    points: np.ndarray,
    deviation: np.ndarray | None,
    particles: Measured,
    fitted: Int[np.ndarray, "chosen"],
    found: Found,
    group: np.ndarray,
    given: np.ndarray | None = None,
) -> Classes:
    """Return the classes of all particles, block by block.

    Parameters
    ----------
    points, deviation : of all particles.
    particles : those that were fitted.
    fitted : which these are.
    found : mixture.
    group : class of each component.
    given : class of each particle; None for the most probable.
    """
    whitening, predictive = particles.whitening, Predictive.of(found.seen, found.mixture)
    weight = np.zeros(len(points))
    weight[fitted] = particles.weight
    member = np.eye(int(group.max()) + 1, dtype=np.float32)[group]
    label, probability = np.zeros(len(points), int), np.zeros(len(points))
    few = 1 < member.shape[1] <= MOST_KEPT
    whole = np.zeros((len(points), member.shape[1]), np.float32) if few else None
    block = max(1, min(BLOCK, LARGEST_BLOCK // found.components))
    for first in range(0, len(points), block):
        rows = slice(first, first + block)
        place = whitening.points(points[rows]) @ found.directions
        quality = whitening.group(None if deviation is None else deviation[rows], len(place))
        for one in np.unique(quality):
            inside = np.flatnonzero(quality == one)
            each = predictive.probability(place[inside], int(one), weight[first + inside]) @ member
            best = each.argmax(axis=1) if given is None else given[rows][inside]
            label[first + inside] = best
            probability[first + inside] = each[np.arange(len(inside)), best]
            if whole is not None:
                whole[first + inside] = each
    used, label = np.unique(label, return_inverse=True)
    mean = np.bincount(label, points[:, 0]) / np.bincount(label)
    place_of = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
    if whole is not None:
        whole = np.clip(whole[:, used[np.argsort(place_of)]], 0, None)
        whole /= np.maximum(whole.sum(axis=1, keepdims=True), 1e-30)
    return Classes(
        place_of[label], np.clip(probability, 0, 1), len(used), found.components, found.directions.shape[1], whole
    )
