"""Compact pieces of a structure that no file cuts: k-means of its residues."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2


def compact_pieces(position: Float[np.ndarray, "residues 3"], pieces: int, seed: int) -> Int[np.ndarray, "residues"]:
    """Return the piece of each residue, (residues,) int32: 0, the core, is the one nearest to the middle of all.

    Parameters
    ----------
    position : Å; more residues than pieces.
    pieces : besides the core.
    seed : of k-means.
    """
    means, label = kmeans2(position, pieces + 1, seed=np.random.default_rng(seed), minit="++")
    order = np.argsort(np.linalg.norm(means - position.mean(axis=0), axis=1))
    return np.argsort(order)[label].astype(np.int32)


def piece_names(pieces: int, core: str = "core") -> tuple[str, ...]:
    """Return the names of the core and of the pieces besides."""
    return (core, *(f"piece{k}" for k in range(1, pieces + 1)))
