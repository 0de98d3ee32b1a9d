"""Precision policy: parameters, phases and CTF in float32; matrix products as the device likes.

On GPU and TPU the operands of dense layers are rounded to bfloat16 and accumulated in float32;
on the CPU they stay float32 unless asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def operand_dtype(precision: str) -> jnp.dtype:
    """Return the dtype of matrix operands under a policy: "auto", "float32" or "bfloat16"."""
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(precision)


def dot_general(precision: str) -> Callable[..., jax.Array]:
    """Return a `jax.lax.dot_general` that rounds operands by policy and accumulates in float32."""
    dtype = operand_dtype(precision)

    def product(left: jax.Array, right: jax.Array, dimension_numbers: Any, **_: Any) -> jax.Array:
        return jax.lax.dot_general(
            left.astype(dtype), right.astype(dtype), dimension_numbers, preferred_element_type=jnp.float32
        )

    return product


def matrix_product(left: jax.Array, right: jax.Array, precision: str) -> jax.Array:
    """Return left @ right over the last axis of `left`, operands rounded by policy."""
    dimension_numbers = (((left.ndim - 1,), (0,)), ((), ()))
    return dot_general(precision)(left, right, dimension_numbers)


def outer_product(left: jax.Array, right: jax.Array, precision: str) -> jax.Array:
    """Return Σ left[…, a] right[…, b] over all axes but the last, operands rounded by policy.

    A CPU transposes the first operand of such a product, so the narrower one comes first.
    """
    if right.shape[-1] < left.shape[-1]:
        return outer_product(right, left, precision).T
    axes = tuple(range(left.ndim - 1))
    return dot_general(precision)(left, right, ((axes, axes), ((), ())))
