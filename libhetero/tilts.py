"""Images that show one particle, as the tilts of a series do: which belong together, in batches and in samples.

A particle is told by a number of each image (`ParticleSet.group`, `Batch.particle`); its images have one latent, and
are in one batch, whole.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def packed(particle: Int[np.ndarray, "images"], size: int) -> list[Int[np.ndarray, "batch"]]:
    """Return places of images in batches of at most `size`, each particle whole in one, in the order of the images.

    Parameters
    ----------
    particle : number of the particle that each image shows; in any order.
    size : images of a batch; a particle of more has a batch of its own, which is larger.
    """
    order, starts = by_particle(particle)
    batches: list[np.ndarray] = []
    first = 0
    for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
        if end - first > size and begin > first:
            batches.append(order[first:begin])
            first = int(begin)
    return [*batches, order[first:]] if len(order) else batches


def by_particle(particle: Int[np.ndarray, "images"]) -> tuple[Int[np.ndarray, "images"], Int[np.ndarray, "particles"]]:
    """Return places of images particle by particle, in the order in which these first come, and where each begins."""
    _, first, of = np.unique(particle, return_index=True, return_inverse=True)
    order = np.argsort(first[of], kind="stable")
    return order, np.flatnonzero(np.diff(particle[order], prepend=particle[order[:1]] - 1))


def largest(particle: Int[np.ndarray, "images"]) -> int:
    """Return how many images the particle of most images has."""
    return int(np.unique(particle, return_counts=True)[1].max()) if len(particle) else 0
