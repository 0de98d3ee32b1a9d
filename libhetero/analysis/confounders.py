"""Does what a run says of its particles follow how they were imaged?

Molecules change whatever the defocus is, wherever they lie and however they are turned in the plane. A coordinate
that follows these follows the microscope, the alignment or the noise. For each coordinate y and each property of the
imaging, as features x (`view_features` and the like) or as groups (micrographs),

    features   R² = 1 - Σ (y - ŷ)² / Σ (y - mean)², ŷ by regression on other particles (cross-validated)
    groups     R² = 1 - (within / (n - G)) / (total / (n - 1)), of variance within and in all, for G groups

Both are 0 on average where nothing follows. p-values come of permutations of the particles, and are of the whole
table at once: how often the largest of all standardised R² is as large where nothing follows (Westfall & Young's
maxT), so that no further correction for the number of tests is due.

References
----------
Westfall & Young, Resampling-Based Multiple Testing (1993), 2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from numpy.polynomial import legendre
from scipy.stats import rankdata

FOLDS = 5
DEGREE = 3  # of what a coordinate may follow along one number
FEWEST = 20  # particles, beyond the numbers that are fitted
MATERIAL, CERTAIN = 0.05, 0.01  # R² above, and p below, which a coordinate follows

Property = Float[np.ndarray, "particles features"] | Integer[np.ndarray, "particles"]
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Followed:
    """How far coordinates follow properties of the imaging.

    Parameters
    ----------
    names : of the properties that could be tested.
    share : R², of each property (rows) and coordinate (columns).
    p_value : of each, corrected for their number.
    """

    names: tuple[str, ...]
    share: Float[np.ndarray, "properties coordinates"]
    p_value: Float[np.ndarray, "properties coordinates"]

    def worst(self, coordinate: int) -> tuple[str, float] | None:
        """Return the property that a coordinate follows most, and R²; None where it follows none in a material way."""
        share = np.where(self.p_value[:, coordinate] < CERTAIN, self.share[:, coordinate], 0)
        if not len(share) or share.max() <= MATERIAL:
            return None
        return self.names[int(share.argmax())], float(share.max())


def follow(
    properties: Mapping[str, Property],
    coordinates: Float[np.ndarray, "particles coordinates"],
    permutations: int = 299,
    seed: int = 0,
) -> Followed:
    """Measure how far each coordinate follows each property.

    Parameters
    ----------
    properties : by name, features of each particle (float) or its group (whole numbers). Those that are the same for
        all particles, or that these are too few for, are left out.
    coordinates : of the particles.
    permutations : of the particles, for the p-values.
    seed : of folds and permutations.
    """
    random = np.random.default_rng(seed)
    coordinates = np.asarray(coordinates, np.float64)
    coordinates = coordinates - coordinates.mean(axis=0)
    made = {name: _statistic(values, random) for name, values in properties.items()}
    statistics = {name: statistic for name, statistic in made.items() if statistic is not None}
    shape = (len(statistics), coordinates.shape[1])
    if 0 in shape:
        return Followed(tuple(statistics), np.zeros(shape), np.ones(shape))
    orders = [np.arange(len(coordinates)), *(random.permutation(len(coordinates)) for _ in range(permutations))]
    share = np.array([[statistic(coordinates[order]) for statistic in statistics.values()] for order in orders])
    return Followed(tuple(statistics), share[0], _corrected(share))


def _corrected(share: Float[np.ndarray, "draws properties coordinates"]) -> np.ndarray:
    """Return the p-values of the first draw, the one as it is, by the largest standardised value of every draw."""
    spread = share.std(axis=0)
    standard = (share - share.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    largest = standard.max(axis=(1, 2))
    return (largest[:, None, None] >= standard[0] - 1e-12).mean(axis=0)


def _statistic(values: np.ndarray, random: np.random.Generator) -> Statistic | None:
    """Return what gives R² of coordinates by a property; None where it cannot be tested."""
    if np.issubdtype(values.dtype, np.integer):
        return _between_groups(values)
    values = np.asarray(values, np.float64)
    values = values[:, values.std(axis=0) > 1e-9 * np.maximum(np.abs(values).max(axis=0, initial=0), 1e-30)]
    if not values.shape[1] or len(values) < FEWEST + 2 * values.shape[1]:
        return None
    return _by_regression(values, random.permutation(len(values)) % FOLDS)


def _by_regression(features: np.ndarray, fold: np.ndarray) -> Statistic:
    """Return what gives the cross-validated R² of coordinates by features."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    design = np.column_stack([np.ones(len(scaled)), scaled])
    parts = [(fold == one, np.linalg.pinv(design[fold != one])) for one in range(FOLDS)]

    def share(coordinates: np.ndarray) -> np.ndarray:
        missed = total = np.zeros(coordinates.shape[1])
        for held, inverse in parts:
            known, asked = coordinates[~held], coordinates[held]
            missed = missed + np.sum((asked - design[held] @ (inverse @ known)) ** 2, axis=0)
            total = total + np.sum((asked - known.mean(axis=0)) ** 2, axis=0)
        return 1 - missed / np.maximum(total, 1e-30)

    return share


def _between_groups(group: np.ndarray) -> Statistic | None:
    """Return what gives the share of variance between groups; those of one particle say nothing and are left out."""
    _, name, size = np.unique(group, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(size[name] > 1)
    _, name, size = np.unique(group[kept], return_inverse=True, return_counts=True)
    groups, count = len(size), len(kept)
    if groups < 2 or count - groups < FEWEST:
        return None

    def share(coordinates: np.ndarray) -> np.ndarray:
        here = coordinates[kept] - coordinates[kept].mean(axis=0)
        total = np.sum(here**2, axis=0)
        sums = np.stack([np.bincount(name, column, groups) for column in here.T], axis=1)
        within = total - np.sum(sums**2 / size[:, None], axis=0)
        return 1 - (within / (count - groups)) / np.maximum(total / (count - 1), 1e-30)

    return share


def view_features(rotation: Float[np.ndarray, "particles 3 3"]) -> Float[np.ndarray, "particles 8"]:
    """Return the real spherical harmonics of degrees 1 and 2 (but for factors) of the direction of view.

    Parameters
    ----------
    rotation : R, model to image; the direction is Rᵀ z, its third row.
    """
    x, y, z = np.asarray(rotation, np.float64)[:, 2].T
    return np.stack([x, y, z, x * y, y * z, x * z, x**2 - y**2, 3 * z**2 - 1], axis=1)


def angle_features(angle: Float[np.ndarray, "particles"], fold: int = 1) -> Float[np.ndarray, "particles 4"]:
    """Return cosines and sines of an angle (radians) and its double; `fold` times it for one that repeats sooner."""
    turns = fold * np.asarray(angle, np.float64)
    return np.stack([np.cos(turns), np.sin(turns), np.cos(2 * turns), np.sin(2 * turns)], axis=1)


def number_features(values: Float[np.ndarray, "particles"] | Integer[np.ndarray, "particles"]) -> np.ndarray:
    """Return Legendre polynomials of degrees 1 to 3 of a number's rank, which no outlier bends."""
    rank = rankdata(values)
    return legendre.legvander(2 * (rank - 0.5) / len(rank) - 1, DEGREE)[:, 1:]
