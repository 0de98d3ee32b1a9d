"""Which volumes of two sets are the same: one to one, so that the FSCs of the pairs have the largest area in all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from libhetero.metrics.fsc import largest_area, masked_fsc
from libhetero.physics.correlation import FAINTEST, shell_index
from libhetero.physics.fourier import crop_volume, fourier_volume, hermitian_weight
from libhetero.physics.masks import soft_sphere

LARGEST_BOX = 48  # voxels of the volumes that are tried against each other; finer rings do not tell which is which


def match_by_fsc(
    read: Callable[[Any], Float[np.ndarray, "n n n"]], first: Sequence[Any], second: Sequence[Any]
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"], Float[np.ndarray, "first second"]]:
    """Return places in the first set, rising, those of the volumes that they are matched to, and how alike all are.

    Volumes are compared in a soft sphere, at 48 voxels a side at most, which of larger ones are the low frequencies.
    How alike two are is the area under their FSC, of the most that it can be: 1 for the same volume. In each shell the
    FSC is the product of both transforms, each over the root of its own power there, so that each volume is transformed
    once and the areas of all pairs are one product of matrices.

    Parameters
    ----------
    read : gives the volume of an entry of a set; all are in one even box.
    first, second : the sets.
    """
    weighted = [np.stack([_of_unit_power(_small(read(one))) for one in each]) for each in (first, second)]
    area = np.asarray(weighted[0] @ weighted[1].T, np.float64)
    rows, columns = linear_sum_assignment(area, maximize=True)
    return np.asarray(rows, np.int64), np.asarray(columns, np.int64), area


def in_sphere(volume: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return a volume in a soft sphere that its box holds, its mean there taken off: an offset is no likeness."""
    n = len(volume)
    mask = np.asarray(soft_sphere(n, n / 2 - n / 16, n / 16))
    return np.asarray((volume - np.sum(volume * mask) / np.sum(mask)) * mask, np.float32)


def fsc_in_sphere(first: Float[np.ndarray, "n n n"], second: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "shells"]:
    """Return the FSC of two volumes as `in_sphere` gives them; 1 at the shell of their means, which were taken off."""
    fsc = np.array(masked_fsc(first, second))
    fsc[:2] = 1.0
    return fsc


def _small(volume: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "m m m"]:
    return np.asarray(crop_volume(in_sphere(volume), min(len(volume), LARGEST_BOX)), np.float32)


def _of_unit_power(volume: Float[np.ndarray, "m m m"]) -> Float[np.ndarray, "numbers"]:
    """Return numbers whose product with those of another volume is the area under the FSC, of the most it can be.

    Those are the parts of the transform, of power 1 in every shell, times the root of the shell's part of the area: the
    trapezoid counts each of the m / 2 shells once, and the first and the last half. What `fsc_in_sphere` says of the
    first two, which is 1 for all volumes, is one number more.
    """
    m = len(volume)
    transform, shell, twice = np.asarray(fourier_volume(volume)), shell_index(m), hermitian_weight(m)
    power = np.bincount(shell.ravel(), np.ravel(twice * np.abs(transform) ** 2), m // 2 + 1)
    part = np.ones(m // 2 + 1)
    part[[0, m // 2 - 1]] = 0.5
    part /= m * largest_area(m)
    said = np.sqrt(part[:2].sum())
    part[[0, 1, m // 2]] = 0.0  # said already, and what lies beyond the last shell
    filled = power > np.sqrt(FAINTEST)
    factor = np.where(filled, np.sqrt(part / np.where(filled, power, 1.0)), 0.0)
    scaled = np.ravel(factor[shell] * np.sqrt(twice) * transform)
    return np.concatenate([[said], scaled.real, scaled.imag]).astype(np.float32)
