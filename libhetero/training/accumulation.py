"""A batch worked through in parts, so that a step needs the memory of one part.

With micro-batches b = 1 … N of weights W_b = Σ_i w_i and keys k_b = fold_in(k, b), the mean over a batch
of whatever is a mean by weight over a micro-batch (loss, metrics, gradient) is

    f = Σ_b W_b f_b / Σ_b W_b.

The loss is linear in its examples, hence f and its gradient are those of the whole batch but for rounding,
where examples draw nothing at random; where they do (`coordinates`, latent noise, dropout), the draws are
others and equality is that of the expectation. A metric that is no mean over examples (`explained`, a ratio)
becomes the mean of its values in the parts. The loss of a model must not mix examples (batch statistics).

Micro-batch b takes the rows b, b + N, b + 2N, …: rows of a device stay on it, and padding, at the end of a
batch, is spread over the parts. XLA sums the gradient over devices in each part, N times a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from libhetero.records import Batch

Means = TypeVar("Means")


def mean_over_parts(function: Callable[[Batch, jax.Array], Means], batch: Batch, key: jax.Array, parts: int) -> Means:
    """Return function(batch, key), where it gives means by weight, computed in parts one after the other.

    A part of weight 0 counts for nothing, even where its means are not finite.

    Parameters
    ----------
    function : of a batch and a key; a pytree of means by `batch.weight`.
    batch : arrays (B, …), B a multiple of `parts` on every device.
    key : of the random draws; with one part it is handed on as it is.
    parts : micro-batches N.
    """
    if parts == 1:
        return function(batch, key)
    rows = jax.tree.map(lambda leaf: leaf.reshape(len(leaf) // parts, parts, *leaf.shape[1:]), batch)

    def part(place: jax.Array) -> tuple[Means, jax.Array]:
        # The cut axis 0 is left alone: moving axis 1 in front would copy the batch.
        micro = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, place, 1, keepdims=False), rows)
        weight = jnp.sum(micro.weight)
        means = function(micro, jax.random.fold_in(key, place))
        return jax.tree.map(lambda mean: jnp.where(weight > 0, weight * mean, 0), means), weight

    def add(sums: tuple[Means, jax.Array], place: jax.Array) -> tuple[tuple[Means, jax.Array], None]:
        return jax.tree.map(jnp.add, sums, part(place)), None

    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(part, jnp.int32(0)))
    (sums, weight), _ = jax.lax.scan(add, zeros, jnp.arange(parts))
    return jax.tree.map(lambda total: total / jnp.where(weight > 0, weight, 1), sums)
