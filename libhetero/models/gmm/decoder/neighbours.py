"""Gathering the features of fixed neighbours, and its transpose without a scatter.

The transpose of a gather is a scatter-add, which runs one row at a time on a CPU. The neighbours
never change, so where each point is listed is known beforehand (`Level.listed_by`) and the
transpose is a sum over those places, itself a gather.

Features are laid out (points, batch, channels): a gathered point is one contiguous block, and every
product over channels is one large matrix product. Neighbours come first in what is gathered, so
that a sum over them is a sum of whole arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from libhetero.models.gmm.decoder.topology import Level


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Who is whose neighbour at one level; NumPy arrays, constants of a compiled function.

    Parameters
    ----------
    neighbours : the k-th neighbour of every point.
    places : where a point stands in the flattened `neighbours`; 0 where it stands fewer times.
    present : which entries of `places` count.
    """

    neighbours: Int[np.ndarray, "neighbours points"]
    places: Int[np.ndarray, "places points"]
    present: Bool[np.ndarray, "places points"]

    @classmethod
    def of(cls, level: Level) -> Neighbourhood:
        """Return the neighbourhood of a level, whose lists have a row a point."""
        count, near = np.shape(level.neighbours)
        listed = np.asarray(level.listed_by).T
        present = listed < count * near
        places = listed % near * count + listed // near
        return cls(np.asarray(level.neighbours).T, np.where(present, places, 0), present)

    def gather(
        self, features: Float[Array, "points batch channels"]
    ) -> Float[Array, "neighbours points batch channels"]:
        """Return every point's neighbours' features."""
        return features[self.neighbours]

    def relation(
        self, query: Array, key: Array, encoding: Float[Array, "neighbours points channels"]
    ) -> Float[Array, "neighbours points batch channels"]:
        """Return relu(q_i - k_j + δ_ij), what an attention's weights are made from."""
        return jax.nn.relu(query - self.gather(key) + encoding[:, :, None])

    def offered(
        self, value: Array, encoding: Float[Array, "neighbours points channels"]
    ) -> Float[Array, "neighbours points batch channels"]:
        """Return v_j + δ_ij, what an attention's weights are the weights of."""
        return self.gather(value) + encoding[:, :, None]

    def transpose(
        self, rows: Float[Array, "neighbours points batch channels"]
    ) -> Float[Array, "points batch channels"]:
        """Return, for every point, the sum of the rows at which it was gathered."""
        rows = rows.reshape(-1, *rows.shape[2:])
        total = jnp.zeros_like(rows[: self.neighbours.shape[1]])
        for place, present in zip(self.places, self.present, strict=True):
            term = rows[place]
            total = total + (term if present.all() else jnp.where(present[:, None, None], term, 0.0))
        return total


def sum_over_neighbours(rows: Float[Array, "neighbours *rest"]) -> Float[Array, "*rest"]:
    """Return Σ_k rows[k] as a sum of whole arrays, which a compiler fuses and vectorises."""
    total = rows[0]
    for number in range(1, rows.shape[0]):
        total = total + rows[number]
    return total


def softmax_over_neighbours(logits: Float[Array, "neighbours *rest"]) -> Float[Array, "neighbours *rest"]:
    """Return exp(logits) / Σ_k exp(logits[k])."""
    largest = logits[0]
    for number in range(1, logits.shape[0]):
        largest = jnp.maximum(largest, logits[number])
    exponential = jnp.exp(logits - largest)
    return exponential / sum_over_neighbours(exponential)


def softmax_transpose(
    share: Float[Array, "neighbours *rest"], gradient: Float[Array, "neighbours *rest"]
) -> Float[Array, "neighbours *rest"]:
    """Return the gradient of the logits of `softmax_over_neighbours` from that of its result."""
    return share * (gradient - sum_over_neighbours(share * gradient))
