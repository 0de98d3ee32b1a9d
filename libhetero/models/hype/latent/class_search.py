"""Which molecules a mixture holds, how many, and which each image is of: subspace, classes, splits and joins.

1. On low rings, the subspace of highest likelihood (`principal_subspace`); the particles' places in it are grouped by
   k-means into more classes than there may be, which are then settled: images see their volume along one slice alone,
   so that their places mean little without how sure they are in each direction (`classes`).
2. The volumes of the classes span a better subspace (`spanned`): as many directions as there are classes, which hold
   what tells them apart. In it classes are settled anew, split where the evidence asks for two (`splits`), and joined
   where one volume predicts other images better (`merges`).
3. The same on more rings, and on a finer grid.

Too many classes to begin with do no harm, as those of one molecule are joined in the end. Too few are split, slowly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int
from scipy.cluster.vq import kmeans2

from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.classes import Classes, Judged, class_sums, judge, posterior, settled
from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid
from libhetero.models.hype.latent.merges import FEW, ROUNDS, Contrast, held_out_likelihood, join_classes, near_pairs
from libhetero.models.hype.latent.normal_equations import Equations, normal_equations
from libhetero.models.hype.latent.splits import split_classes
from libhetero.models.hype.latent.subspace import Subspace, principal_subspace, spanned
from libhetero.models.hype.latent.volumes import class_volumes

LOGGER = logging.getLogger(__name__)
BALL = 0.4  # radius of the molecules, as a part of the box


@dataclass(frozen=True)
class Stage:
    """One subspace and the search in it.

    Parameters
    ----------
    ring : cycles per box.
    oversampling : of the grid.
    """

    ring: float
    oversampling: float


LOW = Stage(8, 1.0)
STAGES = (LOW, Stage(12, 1.0), Stage(12, 1.5))
HIGHEST_RING = STAGES[-1].ring
FIRST_RANK, MOST_RANK = 40, 128
SHOWS = 3.0  # standard errors by which a class's volume must predict its images better than noise alone
EACH = 40  # particles of a class to begin with, on the average
KMEANS = 10  # rounds
STEPS = 8  # in which classes are settled
MOST = 5000  # classes in between
FIRST_SHARE = 0.3  # of the time, for the first classes
START_SPREAD = 0.05  # of contrast
MOST_MEMORY = 3 * 2**29  # bytes of normal equations


def most_particles(rank: int = MOST_RANK) -> int:
    """Return of how many particles the normal equations in a subspace are held."""
    return MOST_MEMORY // (2 * (rank + 1) * (rank + 2))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Classes that were found.

    Parameters
    ----------
    grid : of the volumes.
    subspace : of the volumes.
    classes : in it.
    judged : the particles that were searched.
    spread : of contrast.
    empty : which classes show nothing: noise alone predicts images as well as their volumes do.
    """

    grid: FourierGrid
    subspace: Subspace
    classes: Classes
    judged: Judged
    spread: float
    empty: Bool[np.ndarray, "classes"]

    def shown(self) -> Mixture:
        """Return the mixture without its empty classes."""
        kept, classes = ~self.empty, self.classes
        parts = (classes.mean[kept], classes.covariance[kept], classes.share[kept], classes.evidence[kept])
        return replace(self, classes=Classes(*parts), empty=self.empty[kept])

    def judge(self, slices: CentralSlices) -> Judged:
        """Return the classes of other particles, or of the same."""
        equations = normal_equations(on_grid(slices, self.grid), self.subspace.table)
        return judge(equations, self.classes, self.spread)


def find_classes(
    slices: CentralSlices, most: int = MOST, seed: int = 0, progress: Callable[[float], None] | None = None
) -> Mixture:
    """Find the classes of particles.

    Parameters
    ----------
    slices : up to ring `HIGHEST_RING`, of at most `most_particles()` particles.
    most : classes at most; those that differ least are joined where there are more.
    seed : of the subspace and of k-means.
    progress : called with the fraction done.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    label = _first_classes(slices, seed)
    LOGGER.info("begun with %d classes in %d directions", label.max() + 1, _first_rank(len(slices)))
    advance(FIRST_SHARE)
    spread = START_SPREAD
    for number, stage in enumerate(STAGES):
        seen = _seen(slices, stage)
        last = number == len(STAGES) - 1
        mixture = _searched(seen, label, spread, most if last else MOST)
        label, spread = mixture.judged.label, mixture.spread
        LOGGER.info(
            "to ring %g on a grid %g times as fine: %d classes in %d directions; contrast varies by %.1f %%",
            seen.grid.ring,
            stage.oversampling,
            len(mixture.classes),
            mixture.classes.mean.shape[1],
            100 * spread,
        )
        advance(FIRST_SHARE + (1 - FIRST_SHARE) * (number + 1) / len(STAGES))
    return mixture


def _seen(slices: CentralSlices, stage: Stage) -> OnGrid:
    """Return slices on the grid of a stage, which ends where they do."""
    return on_grid(slices, FourierGrid(min(stage.ring, slices.ring), stage.oversampling, BALL))


def _first_rank(particles: int) -> int:
    return max(1, min(FIRST_RANK, particles // EACH))


def _first_classes(slices: CentralSlices, seed: int) -> Int[np.ndarray, "particles"]:
    """Return classes by k-means of the particles' places in the first subspace, settled once."""
    seen = _seen(slices, LOW)
    _, equations = principal_subspace(seen, _first_rank(len(slices)), seed)
    place = np.asarray(equations.moments()[0], np.float64)
    count = int(np.clip(len(slices) // EACH, 1, MOST))
    start = place[np.random.default_rng(seed).choice(len(place), count, replace=False)]
    _, label = kmeans2(place, start, iter=KMEANS, minit="matrix", missing="warn")
    label = np.unique(label, return_inverse=True)[1]
    return settled(equations, label, STEPS, START_SPREAD)[1].label


def _searched(seen: OnGrid, label: np.ndarray, spread: float, most: int) -> Mixture:
    """Return the classes in the subspace that the volumes of given ones span, split and joined."""
    count = np.bincount(label).astype(np.float64)
    subspace = spanned(class_volumes(seen, label, len(count)), count, min(MOST_RANK, max(len(count) - 1, 1)))
    equations = normal_equations(seen, subspace.table)
    classes, judged = settled(equations, label, STEPS, spread)
    label, split = split_classes(equations, classes, judged)
    if split:
        classes, judged = settled(equations, label, STEPS, judged.spread)
    joined = _joined(seen, equations, judged, most)
    LOGGER.info("%d classes split, %d joined", split, len(classes) - int(joined.max()) - 1)
    classes, judged = settled(equations, joined, STEPS, judged.spread)
    predicted = held_out_likelihood(seen, judged.label, Contrast(judged.contrast, judged.spread))
    total, square = (np.bincount(judged.label, power, len(classes)) for power in (predicted, predicted**2))
    empty = total <= SHOWS * np.sqrt(square)
    return Mixture(seen.grid, subspace, classes, judged, judged.spread, empty)


def _joined(seen: OnGrid, equations: Equations, judged: Judged, most: int) -> Int[np.ndarray, "particles"]:
    """Return the classes of particles after rounds of joins."""
    label, contrast = judged.label, Contrast(judged.contrast, judged.spread)
    for number in range(ROUNDS):
        sums = class_sums(equations, label, judged)
        pairs = near_pairs(posterior(sums), sums)
        label, count = join_classes(seen, label, pairs, contrast, most)
        left = len(sums.count) - count
        if count == 0 or (left <= most and count <= FEW * left and number >= 1):
            break
    return label
