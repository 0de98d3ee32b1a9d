"""Modes of motion that turn: straight where Gaussians move alike, along a screw where their neighbours go round.

A mode displaces Gaussian j by M_j z, in a straight line, and so a piece that turns by θ would grow by 1 / cos θ. The
modes themselves say how a piece turns: the rotation ω_j that fits the displacements of the neighbours k best,

    Σ_k |M_k - M_j - ω_j × (x_k - x_j)|² / |x_k - x_j|²   is least,

half the curl of the field. Continued by that rotation, the displacement is

    d_j(z) = V(ω_j z) M_j z,   V(θ) = 1 + (1 - cos θ) / θ² [θ]× + (θ - sin θ) / θ³ [θ]×²

exact for a rigid piece, however far it turns, for screws and for pieces that are only displaced (ω = 0, V = 1). V is
the left Jacobian of SO(3), the translation of a rigid motion of constant velocity.

References
----------
Murray, Li & Sastry, A Mathematical Introduction to Robotic Manipulation (1994), §2.3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from libhetero.physics.arrays import AnyArray

RIDGE = 0.02  # of the mean eigenvalue: neighbours on a line say nothing of turns about it
SMALL = 0.01  # radians²; below it, series stand for the quotients


def rotations_of(
    position: Float[AnyArray, "points 3"], edges: Int[AnyArray, "pairs 2"], modes: Float[AnyArray, "points 3 modes"]
) -> Float[Array, "points 3 modes"]:
    """Return ω of every Gaussian for one unit of each mode, radians; no gradient passes through the positions.

    Parameters
    ----------
    position : Å, in which the modes are given too.
    edges : pairs of Gaussians next to each other; one that is given twice counts twice.
    modes : displacement for one unit of each.
    """
    first, second = jnp.asarray(edges).T
    across = jax.lax.stop_gradient(jnp.asarray(position)[second] - jnp.asarray(position)[first])
    square = jnp.sum(across**2, axis=-1) + 1e-6
    unit = across / jnp.sqrt(square)[:, None]
    normal = jnp.eye(3) - unit[:, :, None] * unit[:, None]
    difference = jnp.asarray(modes)[second] - jnp.asarray(modes)[first]
    turn = jnp.cross(across[:, :, None], difference, axis=1) / square[:, None, None]

    def both(values: Array) -> Array:
        """Return sums over the pairs of each Gaussian: a pair says the same to either."""
        return jnp.zeros((len(position), *values.shape[1:])).at[first].add(values).at[second].add(values)

    normal = both(normal)
    ridge = RIDGE * jnp.trace(normal, axis1=1, axis2=2) / 3 + 1e-6
    return jnp.einsum("nij,njr->nir", _inverse(normal + ridge[:, None, None] * jnp.eye(3)), both(turn))


def _inverse(matrix: Float[Array, "points 3 3"]) -> Float[Array, "points 3 3"]:
    """Return inverses by cross products of rows, which are faster than a factorisation of so small matrices."""
    a, b, c = matrix[:, 0], matrix[:, 1], matrix[:, 2]
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=-1)
    return columns / jnp.sum(a * columns[:, :, 0], axis=-1)[:, None, None]


def turned(
    modes: Float[AnyArray, "points 3 modes"], rotation: Float[AnyArray, "points 3 modes"], z: Float[Array, "modes"]
) -> Float[Array, "points 3"]:
    """Return d(z).

    Parameters
    ----------
    modes : displacement for one unit of each.
    rotation : ω, from `rotations_of`.
    z : numbers of a particle.
    """
    straight, angle = jnp.matmul(modes, z), jnp.matmul(rotation, z)
    square = jnp.sum(angle**2, axis=-1, keepdims=True)
    near, safe = square < SMALL, jnp.where(square < SMALL, 1.0, square)
    root = jnp.sqrt(safe)
    once = jnp.where(near, 0.5 - square / 24, (1 - jnp.cos(root)) / safe)
    twice = jnp.where(near, 1 / 6 - square / 120, (root - jnp.sin(root)) / (safe * root))
    side = jnp.cross(angle, straight)
    return straight + once * side + twice * jnp.cross(angle, side)
