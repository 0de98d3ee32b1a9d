"""Precision policy: parameters, phases and CTF in float32; matrix products as the device likes.

On GPU and TPU the operands of dense layers are rounded to bfloat16 and accumulated in float32;
on the CPU they stay float32 unless asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PRECISIONS = ("auto", "float32", "bfloat16")


def operand_dtype(precision: str) -> jnp.dtype:
    """Return the dtype of matrix operands under a policy of `PRECISIONS`."""
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(precision)


def dot_general(precision: str) -> Callable[..., jax.Array]:
    """Return a `jax.lax.dot_general` that rounds operands by policy and accumulates in float32."""
    dtype = operand_dtype(precision)

    def product(left: jax.Array, right: jax.Array, dimension_numbers: Any, **_: Any) -> jax.Array:
        return jax.lax.dot_general(
            left.astype(dtype),
            right.astype(dtype),
            dimension_numbers,
            preferred_element_type=jnp.float32,
        )

    return product
