"""Half planes cut into quadrants, real numbers in the order in which products of tables make them.

    Q(F) = ( Re F(ky, kx)     Re F(-ky, kx) )
           ( Im F(-ky, kx)   -Im F(ky, kx)  )      ky, kx = 0 … n/2

With the tables of cosines c and sines s of a projection (`gaussians`) this is one matrix product,
(c_y s_y; s_y c_y) (c_x -s_x; c_x s_x)ᵀ, and nothing has to be gathered or joined afterwards. Inner products
are those of half planes if doubled rows (ky = 0 twice, ky = ±n/2, which a half plane has once, at -n/2) have
weight 0 once: `weights_in_quadrants` sees to it.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from libhetero.physics.arrays import AnyArray


def in_quadrants(plane: Complex[AnyArray, "n half"]) -> Float[Array, "side side"]:
    """Return Q(F) of a half plane; n is even, and a side n + 2."""
    upper, lower = _rows(plane)
    return jnp.concatenate(
        [
            jnp.concatenate([jnp.real(upper), jnp.real(lower)], axis=1),
            jnp.concatenate([jnp.imag(lower), -jnp.imag(upper)], axis=1),
        ]
    )


def weights_in_quadrants(weight: Float[AnyArray, "n half"]) -> Float[AnyArray, "side side"]:
    """Return what multiplies Q(F) where real weights multiply F, 0 where a row stands twice.

    Any array of one real number for each Fourier pixel may be a weight: a CTF, or the frequencies kx or ky.
    """
    upper, lower = _rows(weight)
    module = np if isinstance(weight, np.ndarray) else jnp
    last = len(upper) - 1
    first = np.arange(last + 1)[:, None] != last  # of ky = ±n/2, the half plane has -n/2
    second = np.arange(last + 1)[:, None] != 0
    upper, lower = upper * first, lower * second
    return module.concatenate([module.concatenate([upper, lower], axis=1), module.concatenate([lower, upper], axis=1)])


def times_i(quadrants: Float[Array, "*sets side side"]) -> Float[Array, "*sets side side"]:
    """Return Q(iF) of Q(F)."""
    half = quadrants.shape[-1] // 2
    top, bottom = quadrants[..., :half, :], quadrants[..., half:, :]
    return jnp.concatenate(
        [
            jnp.concatenate([bottom[..., half:], -bottom[..., :half]], axis=-1),
            jnp.concatenate([top[..., half:], -top[..., :half]], axis=-1),
        ],
        axis=-2,
    )


def _rows(plane: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return the rows ky = 0 … n/2 and those of -ky."""
    n = len(plane)
    return plane[: n // 2 + 1], plane[-np.arange(n // 2 + 1) % n]
