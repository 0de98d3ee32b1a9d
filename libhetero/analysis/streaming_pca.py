"""Principal components of vectors that are too many, and too wide, to hold at once.

A CryoHype latent has up to 10⁵ numbers a particle: 100,000 particles would take 40 GB. A random sample
that fits into memory spans a subspace of four times as many dimensions as are wanted, by the Gram matrix
of the sample. One pass over all vectors projects them on it, and the principal components of these
coordinates are the result: the best ones inside that subspace, from all vectors (Rayleigh and Ritz).
Vectors no more than the sample are reduced exactly.

Why not scikit-learn: its `IncrementalPCA` keeps 0.5 % more of the variance at best, for six times the
computing at 8,000 columns and thirty times at 100,000; its randomised `PCA` holds all vectors at once, and of
the sample alone it leaves the others out.

References
----------
Halko, Martinsson & Tropp (2011), SIAM Review 53, 217: why a few more dimensions than are wanted find
the leading ones. Here a sample of rows takes the place of their random combinations, which would ask for
a pass of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.embedding import fix_signs

LOGGER = logging.getLogger(__name__)
SAMPLE = 2500
OVERSAMPLING = 4
ROWS = 256  # projected at once, at least
FLAT = 1e-7  # of the largest eigenvalue: below lies rounding

Blocks = Callable[[Int[np.ndarray, "chosen"]], Iterable[Float[np.ndarray, "rows columns"]]]


@dataclass(frozen=True, eq=False)
class LatentBasis:
    """The plane that vectors were reduced to.

    Parameters
    ----------
    mean : (columns,) of the vectors.
    directions : (kept, columns), orthonormal, by falling variance.
    """

    mean: Float[np.ndarray, "numbers"]
    directions: Float[np.ndarray, "kept numbers"]

    def lift(self, points: Float[np.ndarray, "rows kept"]) -> Float[np.ndarray, "rows columns"]:
        """Return the vectors that coordinates stand for, what was cut off left at the mean."""
        return np.asarray(points, np.float32) @ self.directions + self.mean


def reduce_stream(
    blocks: Blocks, count: int, components: int = 100, sample: int = SAMPLE, seed: int = 0
) -> tuple[Float[np.ndarray, "count kept"], LatentBasis | None]:
    """Return the principal coordinates of all vectors, and their basis.

    Parameters
    ----------
    blocks : gives the vectors at some places, in that order, in blocks of rows; called for the sample
        and, where that is not the whole set, once more for all.
    count : vectors.
    components : at most this many; vectors no wider than that are returned as they are, without
        a basis.
    sample : vectors held at once.
    seed : of the sample.
    """
    everything = np.arange(count)
    held = min(sample, count)
    chosen = np.sort(np.random.default_rng(seed).choice(count, held, replace=False))
    rows, filled = np.empty((0, 0), np.float32), 0
    for block in blocks(chosen):
        if block.shape[1] <= components:
            return np.concatenate([np.asarray(some) for some in blocks(everything)]), None
        if filled == 0:
            rows = np.empty((held, block.shape[1]), np.float32)
        rows[filled : filled + len(block)] = block
        filled += len(block)
    centre = rows.mean(axis=0)
    rows -= centre
    directions = _leading_directions(rows, OVERSAMPLING * components)
    if held == count:
        return _within(rows @ directions.T, centre, directions, components, _power(rows))
    del rows
    coordinates, power = [], 0.0
    for block in _gathered(blocks(everything)):
        block -= centre
        coordinates.append(block @ directions.T)
        power += _power(block)
    return _within(np.concatenate(coordinates), centre, directions, components, power)


def _gathered(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield copies of the same rows in larger blocks: the directions are read from memory once for each."""
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= ROWS:
            yield np.concatenate(held, dtype=np.float32)
            held = []
    if held:
        yield np.concatenate(held, dtype=np.float32)


def _power(rows: np.ndarray) -> float:
    return float(np.einsum("rc,rc->", rows, rows, dtype=np.float64))


def _leading_directions(rows: Float[np.ndarray, "rows columns"], most: int) -> Float[np.ndarray, "kept columns"]:
    """Return orthonormal directions of the largest variance of centred rows."""
    from scipy.linalg import eigh

    gram = (rows @ rows.T).astype(np.float64)
    size = len(gram)
    values, vectors = eigh(gram, subset_by_index=[max(0, size - most), size - 1])
    real = values > FLAT * max(values[-1], 1e-30)
    real[-1] = True
    spanning = vectors[:, real].T.astype(np.float32) @ rows
    return np.linalg.qr(spanning.T)[0].T


def _within(
    coordinates: Float[np.ndarray, "count wide"],
    centre: Float[np.ndarray, "columns"],
    directions: Float[np.ndarray, "wide columns"],
    components: int,
    power: float,
) -> tuple[Float[np.ndarray, "count kept"], LatentBasis]:
    """Turn to the principal components within the directions, about the mean of all vectors.

    What lies outside the directions is left at the sample's mean, `centre`.

    Parameters
    ----------
    power : sum of squares of all vectors about `centre`, to say which part is kept.
    """
    mean = coordinates.mean(axis=0, dtype=np.float64)
    centred = coordinates - mean.astype(np.float32)
    scatter = np.zeros((len(mean), len(mean)))
    for start in range(0, len(centred), SAMPLE):
        some = centred[start : start + SAMPLE].astype(np.float64)
        scatter += some.T @ some
    values, turn = np.linalg.eigh(scatter)
    turn = fix_signs(turn[:, ::-1][:, :components]).astype(np.float32)
    power -= len(coordinates) * float(mean @ mean)
    LOGGER.info(
        "latents of %d numbers reduced to %d: %.1f%% of their variance",
        directions.shape[1],
        turn.shape[1],
        100 * values[::-1][:components].sum() / max(power, 1e-30),
    )
    basis = LatentBasis(centre + mean.astype(np.float32) @ directions, np.ascontiguousarray(turn.T @ directions))
    return centred @ turn, basis
