"""Soft masks about the box centre, values 0 to 1, with a raised-cosine edge."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.physics.arrays import AnyArray


def cosine_edge(distance: Float[AnyArray, "*shape"], radius: float, width: float) -> Float[Array, "*shape"]:
    """Return 1 inside `radius`, 0 beyond `radius + width`, ½(1 + cos) between (same unit)."""
    position = jnp.clip((distance - radius) / max(width, 1e-6), 0.0, 1.0)
    return 0.5 * (1 + jnp.cos(jnp.pi * position))


def soft_disc(n: int, radius: float, width: float) -> Float[Array, "n n"]:
    """Return a disc about n // 2; `radius` and `width` in pixels."""
    axis = np.arange(n) - n // 2
    distance = np.hypot(axis[:, None], axis[None, :])
    return cosine_edge(jnp.asarray(distance, jnp.float32), radius, width)


def soft_sphere(n: int, radius: float, width: float) -> Float[Array, "n n n"]:
    """Return a ball about n // 2; `radius` and `width` in voxels."""
    axis = (np.arange(n) - n // 2).astype(np.float32)
    square = axis**2
    distance = np.sqrt(square[:, None, None] + square[None, :, None] + square[None, None, :])
    return cosine_edge(jnp.asarray(distance), radius, width)
