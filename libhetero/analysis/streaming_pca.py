"""Principal components of vectors that are too many, or too wide, to hold at once.

A CryoHype latent has up to 10⁵ numbers a particle: 100,000 particles would take 40 GB. Here vectors
pass by in blocks; what is kept is one block and the components so far (incremental PCA). The first
pass finds the components, a second one projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LEAST_ROWS = 256


@dataclass(frozen=True, eq=False)
class LatentBasis:
    """The plane that vectors were reduced to.

    Parameters
    ----------
    mean : (columns,) of the vectors.
    directions : (kept, columns), orthonormal, by falling variance.
    """

    mean: np.ndarray
    directions: np.ndarray

    def lift(self, points: Float[np.ndarray, "rows kept"]) -> Float[np.ndarray, "rows columns"]:
        """Return the vectors that coordinates stand for, what was cut off left at the mean."""
        return np.asarray(points, np.float32) @ self.directions + self.mean


class StreamingPCA:
    """Incremental PCA over blocks of any size.

    Parameters
    ----------
    components : at most this many; fewer when there are fewer vectors or numbers.
    """

    def __init__(self, components: int = 100) -> None:
        self._components = components
        self._rows = max(LEAST_ROWS, 2 * components)
        self._held: list[np.ndarray] = []
        self._pca = None

    def add(self, block: Float[np.ndarray, "rows columns"]) -> None:
        """Take some vectors."""
        self._held.append(np.asarray(block, np.float32))
        if sum(map(len, self._held)) >= 2 * self._rows:
            held = np.concatenate(self._held)
            self._fit(held[: self._rows])
            self._held = [held[self._rows :]]

    def finish(self) -> StreamingPCA:
        """Take what is still held; afterwards `transform` may be used."""
        if self._held and sum(map(len, self._held)):
            self._fit(np.concatenate(self._held))
        self._held = []
        return self

    def transform(self, block: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows kept"]:
        """Return the coordinates of vectors about the mean, by falling variance."""
        return self._pca.transform(np.asarray(block, np.float32)).astype(np.float32)

    @property
    def variance_ratio(self) -> Float[np.ndarray, " kept"]:
        """Part of the whole variance along each component."""
        return self._pca.explained_variance_ratio_

    def basis(self) -> LatentBasis:
        """Return what takes coordinates back to vectors."""
        return LatentBasis(
            self._pca.mean_.astype(np.float32), self._pca.components_.astype(np.float32)
        )

    def _fit(self, rows: np.ndarray) -> None:
        from sklearn.decomposition import IncrementalPCA

        if self._pca is None:
            self._pca = IncrementalPCA(min(self._components, *rows.shape))
        self._pca.partial_fit(rows)


def reduce_stream(
    blocks: Callable[[], Iterable[Float[np.ndarray, "rows columns"]]], components: int = 100
) -> tuple[Float[np.ndarray, "vectors kept"], LatentBasis | None]:
    """Return the principal coordinates of all vectors, and their basis.

    Parameters
    ----------
    blocks : gives the same blocks each time it is called; called twice.
    components : at most this many; vectors no wider than that are returned as they are, without
        a basis.
    """
    kept: list[np.ndarray] = []
    pca = None
    for block in blocks():
        if block.shape[1] <= components:
            kept.append(np.asarray(block))
            continue
        pca = pca or StreamingPCA(components)
        pca.add(block)
    if pca is None:
        return np.concatenate(kept), None
    pca.finish()
    return np.concatenate([pca.transform(block) for block in blocks()]), pca.basis()
