"""Vector attention whose weights are shared over groups of channels, with its own derivative.

    y_i = Σ_j s_ij ⊙ (v_j + δ_ij),   s_ij = softmax_j( relu(q_i - k_j + δ_ij) W )

where j runs over the neighbours of i, and each of the G columns of s weights C / G neighbouring
channels. The derivative keeps s only, which is C / G times smaller than what it was made from,
and recomputes the rest.

References
----------
Wu et al., Point Transformer V2, NeurIPS 2022, grouped vector attention; the relation is that of
Point Transformer V1, with the offset's encoding added, and no normalisation inside.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.models.gmm.decoder.neighbours import (
    Neighbourhood,
    softmax_over_neighbours,
    softmax_transpose,
    sum_over_neighbours,
)
from libhetero.models.precision import matrix_product, outer_product
from libhetero.physics.rotations import HIGHEST


def grouped_attention(
    query: Float[Array, "points batch channels"],
    key: Float[Array, "points batch channels"],
    value: Float[Array, "points batch channels"],
    encoding: Float[Array, "neighbours points channels"],
    kernel: Float[Array, "channels groups"],
    neighbourhood: Neighbourhood,
    precision: str,
) -> Float[Array, "points batch channels"]:
    """Return y of the module's equation.

    Parameters
    ----------
    query, key, value : projected features of the points.
    encoding : δ, the same for every particle.
    kernel : W.
    neighbourhood : who is whose neighbour.
    precision : policy for the product with W.
    """
    spread = _spread(*kernel.shape)

    def forward(*arguments: Array) -> tuple[Array, Any]:
        query, key, value, encoding, kernel = arguments
        relation = neighbourhood.relation(query, key, encoding)
        share = softmax_over_neighbours(matrix_product(relation, kernel, precision))
        full = jnp.matmul(share, spread, precision=HIGHEST)
        mixed = sum_over_neighbours(full * neighbourhood.offered(value, encoding))
        return mixed, (arguments, share)

    def backward(residuals: Any, gradient: Array) -> tuple[Array, ...]:
        (query, key, value, encoding, kernel), share = residuals
        offered = gradient * neighbourhood.offered(value, encoding)
        d_share = jnp.matmul(offered, spread.T, precision=HIGHEST)
        d_logits = softmax_transpose(share, d_share)
        relation = neighbourhood.relation(query, key, encoding)
        d_kernel = outer_product(relation, d_logits, precision)
        d_relation = jnp.where(relation > 0, matrix_product(d_logits, kernel.T, precision), 0.0)
        d_value = jnp.matmul(share, spread, precision=HIGHEST) * gradient
        return (
            sum_over_neighbours(d_relation),
            -neighbourhood.transpose(d_relation),
            neighbourhood.transpose(d_value),
            jnp.sum(d_relation + d_value, axis=2),
            d_kernel,
        )

    attend = jax.custom_vjp(lambda *arguments: forward(*arguments)[0])
    attend.defvjp(forward, backward)
    return attend(query, key, value, encoding, kernel)


def _spread(channels: int, groups: int) -> Float[np.ndarray, "groups channels"]:
    """Return the matrix that repeats each group's weight over its channels: a product is faster."""
    return np.repeat(np.eye(groups, dtype=np.float32), channels // groups, axis=1)
