"""Gathering the features of fixed neighbours, with a gradient that is a gather too.

The transpose of a gather is a scatter-add, which runs one row at a time on a CPU. The neighbours
never change, so where each point is listed is known beforehand (`Level.listed_by`) and its
gradient is the sum over those places.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.custom_vjp
def gather_neighbours(
    features: Float[Array, "points channels"],
    neighbours: Int[Array, "points neighbours"],
    listed_by: Int[Array, "points places"],
) -> Float[Array, "points neighbours channels"]:
    """Return features[neighbours].

    Parameters
    ----------
    features : one row a point.
    neighbours, listed_by : of one `Level`.
    """
    del listed_by
    return features[neighbours]


def _forward(features: Array, neighbours: Array, listed_by: Array) -> tuple[Array, Array]:
    return features[neighbours], listed_by


def _backward(listed_by: Array, gradient: Array) -> tuple[Array, None, None]:
    rows = gradient.reshape(-1, gradient.shape[-1])
    rows = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])
    return jnp.sum(rows[listed_by], axis=1), None, None


gather_neighbours.defvjp(_forward, _backward)
