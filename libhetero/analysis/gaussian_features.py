"""Every Gaussian as a vector over all particles, without holding that matrix.

Only inner products between Gaussians are needed: with x_i the change of Gaussian i over M
particles (centred), the covariance C_ij = <x_i, x_j> / M is N × N whatever M is, and PCA of the
vectors follows from it (the Gram trick). Particles stream in blocks through
`CovarianceAccumulator`.

Two Gaussians that come and go together have C_ij close to the square root of C_ii C_jj. Two
Gaussians of one rigid piece that turns move in different directions by different amounts, yet
each displacement is a fixed function of the other, so for motion the similarity is the
Frobenius norm of their 3 × 3 cross-covariance, which does not depend on directions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import ConfigurationError
from libhetero.records import Gaussians

SMALLEST_NEUTRAL = 0.05
SMALLEST_PRESENT = 0.1  # of the neutral amplitude
FEATURES = {"amplitude": 1, "motion": 3, "both": 4}
PRESENCE = 0.25
OF_A_SIGMA = 0.25  # weight of a motion's similarity beside presence: one sigma counts as half of the particles
MATERIAL = 0.3  # of the stronger kind of change: what changes less than this is not of the weaker kind, too


def relative_amplitude(decoded: Gaussians, neutral: Gaussians) -> Float[np.ndarray, "particles gaussians"]:
    """Return decoded over neutral amplitude: 0 is absent, 1 as neutral.

    Parameters
    ----------
    decoded : amplitude (particles, N).
    neutral : amplitude (N,). Those below 5% of the median count as 5% of it, so that a Gaussian
        that is hardly there does not dominate.
    """
    scale = np.abs(np.asarray(neutral.amplitude, np.float32))
    scale = np.maximum(scale, max(SMALLEST_NEUTRAL * float(np.median(scale)), 1e-12))
    return np.asarray(decoded.amplitude, np.float32) / scale


def displacement(decoded: Gaussians, neutral: Gaussians) -> Float[np.ndarray, "particles gaussians 3"]:
    """Return decoded minus neutral position in units of the median neutral sigma (dimensionless).

    A displacement of one sigma changes the density about as much as presence does, which makes the
    two kinds of change comparable. Where a Gaussian is faint its position means little, so the
    displacement is multiplied by its relative amplitude, 0 to 1.
    """
    change = np.asarray(decoded.position, np.float32) - np.asarray(neutral.position, np.float32)
    presence = np.clip(relative_amplitude(decoded, neutral), 0, 1)
    return presence[..., None] * change / np.float32(np.median(neutral.sigma))


def change_vectors(
    decoded: Gaussians, neutral: Gaussians, feature: str
) -> Float[np.ndarray, "particles gaussians numbers"]:
    """Return what changes of every Gaussian: its relative amplitude, displacement or both.

    Parameters
    ----------
    decoded : leading axis particles.
    neutral : N Gaussians, in the same order.
    feature : "amplitude" (1 number a Gaussian), "motion" (3) or "both" (4).
    """
    if feature == "amplitude":
        return relative_amplitude(decoded, neutral)[..., None]
    if feature == "motion":
        return displacement(decoded, neutral)
    amplitude = relative_amplitude(decoded, neutral)[..., None]
    return np.concatenate([amplitude, displacement(decoded, neutral)], axis=-1)


def material_feature(decoded: Gaussians, neutral: Gaussians) -> str:
    """Return which kinds of change there are in a sample of particles: "amplitude", "motion" or "both".

    By the strongest changes of each (95th percentile of the standard deviation), a presence in half of the particles
    counting like a motion of one sigma: the larger kind, and the other where it has three tenths of it.
    """
    amplitude = relative_amplitude(decoded, neutral).std(axis=0)
    moved = np.sqrt(displacement(decoded, neutral).var(axis=0).sum(axis=-1))
    return kind_of_sizes(float(np.percentile(amplitude, 95)), float(np.percentile(moved, 95)))


def kind_of_sizes(amplitude: float, motion: float) -> str:
    """Return what kind of change two standard deviations are.

    Parameters
    ----------
    amplitude : relative, ½ for a presence in half of the particles.
    motion : in sigma.
    """
    moved = np.sqrt(OF_A_SIGMA) * motion
    if min(amplitude, moved) >= MATERIAL * max(amplitude, moved):
        return "both"
    return "amplitude" if amplitude > moved else "motion"


def sizes_of_region(
    covariance: Float[np.ndarray, "columns columns"],
    mean: Float[np.ndarray, "columns"],
    count: int,
    feature: str,
    members: Int[np.ndarray, "members"],
) -> tuple[float, float]:
    """Return how much the amplitudes (relative) and the places (sigma) of a region's Gaussians change in common.

    Parameters
    ----------
    covariance, mean, count, feature : as for `similarity_of`; what the feature has not is 0.
    members : indices of the region's Gaussians.
    """
    sizes = {"amplitude": 0.0, "motion": 0.0}
    pairs = max(len(members) * (len(members) - 1), 1)
    for kind in sizes if feature == "both" else (feature,):
        columns = columns_of(members, feature, kind)
        similar = similarity_of(covariance[np.ix_(columns, columns)], mean[columns], count, kind)
        sizes[kind] = float(np.sqrt(max(similar.sum() - np.trace(similar), 0.0) / pairs))
    return sizes["amplitude"], sizes["motion"]


def columns_of(members: Int[np.ndarray, "members"], feature: str, kind: str) -> Int[np.ndarray, "columns"]:
    """Return where the numbers of a kind of change stand among those of `change_vectors`.

    Parameters
    ----------
    members : indices of Gaussians.
    feature : as given to `change_vectors`.
    kind : "amplitude", "motion" or "both", of which the feature has at least one.
    """
    numbers = FEATURES[feature]
    first = numbers - 3 if kind == "motion" else 0
    last = 1 if kind == "amplitude" and feature == "both" else numbers
    return (members[:, None] * numbers + np.arange(first, last)).ravel()


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
        needed = self.gibibytes(columns)
        if needed > memory:
            raise ConfigurationError(
                f"the covariance of {columns} columns takes {needed:.1f} GiB; {memory:g} GiB are "
                "allowed. Raise --memory, or segment the run with --feature amplitude (a third of motion's)."
            )
        self.count = 0
        self._origin = np.zeros(columns, np.float32)
        self._sum = np.zeros(columns)
        self._product = np.zeros((columns, columns))

    @staticmethod
    def gibibytes(columns: int) -> float:
        """Return the memory of the sums and of the covariance made from them, GiB."""
        return 2 * 8 * columns**2 / 2**30

    def add(self, rows: Float[np.ndarray, "particles *columns"]) -> None:
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


def similarity_of(
    covariance: Float[np.ndarray, "columns columns"], mean: Float[np.ndarray, "columns"], count: int, feature: str
) -> Float[np.ndarray, "gaussians gaussians"]:
    """Return how much Gaussians change together, from the covariance of `change_vectors`.

    Amplitudes count as parts of what each Gaussian has when it is present, taken as its mean plus
    its standard deviation: a piece in a fraction p of the particles changes by √(p (1 - p)) of
    p + √(p (1 - p)), ½ for p = ½, whether the neutral model is the whole or the consensus.

    Parameters
    ----------
    covariance, mean : columns ordered Gaussian by Gaussian, the numbers of `feature` within.
    count : number of particles behind it.
    feature : as given to `change_vectors`; for "both" the two similarities are added, so weighted that a motion of
        one sigma counts like a presence in half of the particles.
    """
    numbers = FEATURES[feature]
    if feature != "motion":
        change = covariance[::numbers, ::numbers]
        present = np.maximum(mean[::numbers] + np.sqrt(np.diag(change)), SMALLEST_PRESENT)
        change = change / np.outer(present, present)
    if feature == "amplitude":
        return change
    moving = np.arange(len(covariance)) % numbers >= numbers - 3
    motion = motion_similarity(covariance[np.ix_(moving, moving)], count)
    return motion if feature == "motion" else OF_A_SIGMA * motion + change


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


def region_basis(
    covariance: Float[np.ndarray, "columns columns"],
    members: Int[np.ndarray, "members"],
    feature: str,
    components: int,
    kind: str | None = None,
) -> tuple[Int[np.ndarray, "chosen"], Float[np.ndarray, "chosen kept"]]:
    """Return the columns of a region's Gaussians and their principal directions.

    Parameters
    ----------
    covariance, feature : as for `similarity_of`.
    members : indices of the region's Gaussians.
    components : at most this many directions, by falling variance; each points so that its
        components sum to a positive number, so that more amplitude is a larger coordinate.
    kind : of the changes that count; None for all of the feature.
    """
    columns = columns_of(members, feature, kind or feature)
    _, vectors = np.linalg.eigh(covariance[np.ix_(columns, columns)])
    basis = vectors[:, ::-1][:, :components]
    total = basis.sum(axis=0)
    return columns, basis * np.where(total < 0, -1, 1)
