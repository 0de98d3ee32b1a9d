"""Every Gaussian as a vector over all particles, without holding that matrix.

Only inner products between Gaussians are needed: with x_i the change of Gaussian i over M
particles (centred), the covariance C_ij = <x_i, x_j> / M is N × N whatever M is, and PCA of the
vectors follows from it (the Gram trick). Particles stream through `CovarianceAccumulator` in blocks.

Two Gaussians that come and go together have C_ij close to the square root of C_ii C_jj. Two
Gaussians of one rigid piece that turns move in different directions by different amounts, yet
each displacement is a fixed function of the other, so for motion the similarity is the
Frobenius norm of their 3 × 3 cross-covariance, which does not depend on directions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from libhetero.errors import ConfigurationError
from libhetero.records import Gaussians

SMALLEST_NEUTRAL = 0.05


def amplitude_change(
    decoded: Gaussians, neutral: Gaussians
) -> Float[np.ndarray, "particles gaussians"]:
    """Return decoded minus neutral amplitude, relative to the neutral one: -1 is absent, 0 as neutral.

    Parameters
    ----------
    decoded : amplitude (particles, N).
    neutral : amplitude (N,). Those below 5% of the median count as 5% of it, so that a Gaussian
        that is hardly there does not dominate.
    """
    scale = np.abs(np.asarray(neutral.amplitude, np.float32))
    scale = np.maximum(scale, max(SMALLEST_NEUTRAL * float(np.median(scale)), 1e-12))
    change = np.asarray(decoded.amplitude, np.float32) - np.asarray(neutral.amplitude, np.float32)
    return change / scale


def displacement(
    decoded: Gaussians, neutral: Gaussians
) -> Float[np.ndarray, "particles gaussians 3"]:
    """Return decoded minus neutral position in units of the median neutral sigma (dimensionless).

    A displacement of one sigma changes the density about as much as presence does, which makes the
    two kinds of change comparable.
    """
    change = np.asarray(decoded.position, np.float32) - np.asarray(neutral.position, np.float32)
    return change / np.float32(np.median(neutral.sigma))


class CovarianceAccumulator:
    """Covariance between columns of a matrix whose rows arrive in blocks.

    C = Σ_p (x_p - m)(x_p - m)ᵀ / M with m the mean. Blocks are multiplied in float32 about the mean
    of the first block and summed in float64, so M may be large and the mean far from 0.

    Parameters
    ----------
    columns : number of columns D; the covariance holds D² float64.
    memory : GiB that the covariance may take.

    Raises
    ------
    ConfigurationError : if D² float64 would exceed `memory`.
    """

    def __init__(self, columns: int, memory: float = 4.0):
        needed = 2 * 8 * columns**2 / 2**30
        if needed > memory:
            raise ConfigurationError(
                f"the covariance of {columns} columns takes {needed:.1f} GiB; {memory:g} GiB allowed. "
                "Raise --memory, or segment by amplitude only (a third of the columns of motion)."
            )
        self.count = 0
        self._origin = np.zeros(columns, np.float32)
        self._sum = np.zeros(columns)
        self._product = np.zeros((columns, columns))

    def add(self, rows: Float[np.ndarray, "particles columns"]) -> None:
        """Take in a block of particles, any number of them."""
        if len(rows) == 0:
            return
        rows = np.asarray(rows, np.float32).reshape(len(rows), -1)
        if self.count == 0:
            self._origin = rows.mean(axis=0)
        centred = rows - self._origin
        self._sum += centred.sum(axis=0, dtype=np.float64)
        self._product += centred.T @ centred
        self.count += len(rows)

    def mean(self) -> Float[np.ndarray, "columns"]:
        """Return the mean row."""
        return self._origin + self._sum / max(self.count, 1)

    def covariance(self) -> Float[np.ndarray, "columns columns"]:
        """Return C, float64, in the unit of the columns squared."""
        mean = self._sum / max(self.count, 1)
        return self._product / max(self.count, 1) - np.outer(mean, mean)


def motion_similarity(
    covariance: Float[np.ndarray, "columns columns"], count: int
) -> Float[np.ndarray, "gaussians gaussians"]:
    """Return ‖C_ij‖_F, the norm of each 3 × 3 block of the covariance of displacements.

    For a piece that turns about one axis, displacement_i = θ a × r_i, this is
    var(θ) |a × r_i| |a × r_j|: as for amplitudes, a product of two sizes when both change together.
    What unrelated changes give by chance, ‖C_ij‖² = tr C_ii tr C_jj / M, is subtracted.

    Parameters
    ----------
    covariance : (3 N, 3 N), columns ordered Gaussian by Gaussian, x y z within.
    count : number of particles M behind it.

    References
    ----------
    The RV coefficient of Robert & Escoufier (1976) is the square of this, normalised.
    """
    n = len(covariance) // 3
    variance = np.diag(covariance).reshape(n, 3).sum(axis=1)
    square = -np.outer(variance, variance) / max(count, 1)
    for row in range(3):
        for column in range(3):
            square += covariance[row::3, column::3] ** 2
    return np.sqrt(np.maximum(square, 0))
