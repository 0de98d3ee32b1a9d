"""Vector attention with a weight of its own for every channel, as published, in little memory.

    y_i = Σ_j s_ij ⊙ (v_j + δ_ij)
    s_ij = softmax_j( relu( relu(q_i - k_j + δ_ij) W₁ + b₁ ) W₂ )

where j runs over the neighbours of i. A bias after W₂ would be the same for every neighbour, so the
softmax does not see it.

The two products are nearly all of the decoder's work, and each of their operands has a row for
every particle, point and neighbour. Particles are therefore taken a few at a time, and the
derivative keeps only the two arrays that would cost a product to make again: s, and the operand of
W₂. Everything else is recomputed from the features that q, k and v are projected from, and from δ.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from libhetero.models.gmm.decoder.neighbours import (
    Neighbourhood,
    softmax_over_neighbours,
    softmax_transpose,
    sum_over_neighbours,
)
from libhetero.models.precision import matrix_product, operand_dtype, outer_product

Linear = tuple[Float[Array, "_ _"], Float[Array, "_"]]  # kernel (inputs, outputs) and bias
Dense = tuple[Float[Array, "channels channels"], Float[Array, "channels"], Float[Array, "channels channels"]]
PARTICLES_AT_ONCE = 1  # for each device


def vector_attention(
    features: Float[Array, "points batch inputs"],
    encoding: Float[Array, "neighbours points channels"],
    dense: Dense,
    neighbourhood: Neighbourhood,
    precision: str,
    projection: Linear | None = None,
) -> Float[Array, "points batch channels"]:
    """Return y of the module's equations.

    Parameters
    ----------
    features : what q, k and v are projected from; without a projection q, k and v themselves, joined
        in this order.
    encoding : δ, the same for every particle.
    dense : W₁, b₁ and W₂.
    neighbourhood : who is whose neighbour.
    precision : policy for the matrix products.
    projection : kernel and bias of the dense layer that makes q, k and v, joined in this order; they
        are then never held for the whole batch.
    """

    def attend(features: Array, projection: Linear | None, encoding: Array, dense: Dense) -> Array:
        return jax.lax.map(
            lambda part: _forward(part, projection, encoding, dense, neighbourhood, precision)[0], features
        )

    def forward(features: Array, projection: Linear | None, encoding: Array, dense: Dense) -> tuple[Array, Any]:
        mixed, kept = jax.lax.map(
            lambda part: _forward(part, projection, encoding, dense, neighbourhood, precision), features
        )
        return mixed, (features, (projection, encoding, dense), kept)

    def backward(residuals: Any, gradient: Array) -> tuple[Any, ...]:
        features, shared, kept = residuals
        projection, encoding, dense = shared

        def one(total: Any, inputs: Any) -> tuple[Any, Any]:
            part, kept, gradient = inputs
            own, more = _backward(part, projection, encoding, dense, kept, gradient, neighbourhood, precision)
            return jax.tree.map(jnp.add, total, more), own

        start = jax.tree.map(jnp.zeros_like, shared)
        total, own = jax.lax.scan(one, start, (features, kept, gradient))
        return (own, *total)

    attention = jax.custom_vjp(attend)
    attention.defvjp(forward, backward)
    parts = _split(features, _particles_at_once(features.shape[1]))
    return _join(attention(parts, projection, encoding, dense))


def _forward(
    features: Array,
    projection: Linear | None,
    encoding: Array,
    dense: Dense,
    neighbourhood: Neighbourhood,
    precision: str,
) -> tuple[Array, tuple[Array, Array]]:
    """Return y of a few particles, and what their derivative keeps: s and the operand of W₂."""
    query, key, value = _project(features, projection, precision)
    first, bias, second = dense
    relation = neighbourhood.relation(query, key, encoding)
    hidden = jax.nn.relu(matrix_product(relation, first, precision) + bias)
    hidden = hidden.astype(operand_dtype(precision))
    share = softmax_over_neighbours(matrix_product(hidden, second, precision))
    offered = neighbourhood.offered(value, encoding)
    return sum_over_neighbours(share * offered), (share, hidden)


def _backward(
    features: Array,
    projection: Linear | None,
    encoding: Array,
    dense: Dense,
    kept: tuple[Array, Array],
    gradient: Array,
    neighbourhood: Neighbourhood,
    precision: str,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the gradients of the features of a few particles, and theirs of all that particles share."""
    (query, key, value), transpose = jax.vjp(
        lambda features, projection: _project(features, projection, precision), features, projection
    )
    first, _, second = dense
    share, hidden = kept
    offered = neighbourhood.offered(value, encoding)
    d_logits = softmax_transpose(share, gradient * offered)
    d_hidden = jnp.where(hidden > 0, matrix_product(d_logits, second.T, precision), 0.0)
    relation = neighbourhood.relation(query, key, encoding)
    d_relation = jnp.where(relation > 0, matrix_product(d_hidden, first.T, precision), 0.0)
    d_value = share * gradient
    own, d_projection = transpose(
        (sum_over_neighbours(d_relation), -neighbourhood.transpose(d_relation), neighbourhood.transpose(d_value))
    )
    d_dense = (
        outer_product(relation, d_hidden, precision),
        jnp.sum(d_hidden, axis=(0, 1, 2)),
        outer_product(hidden, d_logits, precision),
    )
    return own, (d_projection, jnp.sum(d_relation + d_value, axis=2), d_dense)


def _project(features: Array, projection: Linear | None, precision: str) -> tuple[Array, Array, Array]:
    """Return q, k and v."""
    if projection is not None:
        kernel, bias = projection
        features = matrix_product(features, kernel, precision) + bias
    query, key, value = jnp.split(features, 3, axis=-1)
    return query, key, value


def _particles_at_once(batch: int) -> int:
    """Return the largest divisor of the batch up to `PARTICLES_AT_ONCE` for each device."""
    most = int(PARTICLES_AT_ONCE * jax.device_count())
    return max(count for count in range(1, min(most, batch) + 1) if batch % count == 0)


def _split(array: Shaped[Array, "points batch channels"], count: int) -> Array:
    """Return (steps, points, count, channels); a step takes particles from all over the batch.

    A batch is sharded in contiguous parts, so that every device has its share of every step.
    """
    points, batch, channels = array.shape
    return array.reshape(points, count, batch // count, channels).transpose(2, 0, 1, 3)


def _join(array: Shaped[Array, "steps points count channels"]) -> Array:
    """Return what `_split` was given."""
    _, points, _, channels = array.shape
    return array.transpose(1, 2, 0, 3).reshape(points, -1, channels)
