"""Rotations that take model coordinates to image coordinates, R left-multiplying columns (x, y, z).

The elementary matrices are passive, as in EMAN2, RELION and cryoSPARC:

    Rz(a) = [[ c, s, 0], [-s, c, 0], [0, 0, 1]]     Ry(a) = [[c, 0, -s], [0, 1, 0], [s, 0, c]]

and R = Rz(psi) Ry(tilt) Rz(rot). Projections agree with RELION at its (rot, tilt, psi).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from libhetero.physics.arrays import AnyArray

HIGHEST = jax.lax.Precision.HIGHEST
UNTURNED = np.array([0, 0, 1e-8], np.float32)  # radians: an axis for no rotation


def euler_to_matrix(angles: Float[AnyArray, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Return R = Rz(psi) Ry(tilt) Rz(rot) for angles (rot, tilt, psi) in radians."""
    rot, tilt, psi = angles[..., 0], angles[..., 1], angles[..., 2]
    ca, sa = jnp.cos(rot), jnp.sin(rot)
    cb, sb = jnp.cos(tilt), jnp.sin(tilt)
    cg, sg = jnp.cos(psi), jnp.sin(psi)
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_euler(rotation: Float[AnyArray, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Return (rot, tilt, psi) in radians with 0 ≤ tilt ≤ π; at the poles rot = 0."""
    tilt_sine = jnp.hypot(rotation[..., 2, 0], rotation[..., 2, 1])
    tilt = jnp.arctan2(tilt_sine, rotation[..., 2, 2])
    pole = tilt_sine < 1e-6
    rot = jnp.where(pole, 0.0, jnp.arctan2(rotation[..., 2, 1], rotation[..., 2, 0]))
    psi = jnp.arctan2(rotation[..., 1, 2], -rotation[..., 0, 2])
    at_pole = jnp.arctan2(rotation[..., 0, 1], rotation[..., 1, 1])
    return jnp.stack([rot, tilt, jnp.where(pole, at_pole, psi)], axis=-1)


def axis_angle_to_matrix(
    axis: Float[AnyArray, "*batch 3"], angle: Float[AnyArray, "*batch"]
) -> Float[Array, "*batch 3 3"]:
    """Return the matrix that turns columns about `axis` by `angle` (radians, right-handed).

    Rodrigues' formula, R = I + sin(a) K + (1 - cos a) K², with K the cross-product matrix.
    """
    axis = axis / jnp.linalg.norm(axis, axis=-1, keepdims=True)
    zero = jnp.zeros_like(axis[..., 0])
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    cross = jnp.stack(
        [jnp.stack([zero, -z, y], axis=-1), jnp.stack([z, zero, -x], axis=-1), jnp.stack([-y, x, zero], axis=-1)],
        axis=-2,
    )
    angle = angle[..., None, None]
    square = jnp.matmul(cross, cross, precision=HIGHEST)
    return jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * square


def turned(rotation: Float[AnyArray, "3 3"], turn: Float[AnyArray, "3"]) -> Float[Array, "3 3"]:
    """Return exp([w]×) R: R turned further by a rotation vector about the axes of the image, also by none.

    Parameters
    ----------
    rotation : R.
    turn : w, radians.
    """
    axis = turn + UNTURNED
    return jnp.matmul(axis_angle_to_matrix(axis, jnp.linalg.norm(axis)), rotation, precision=HIGHEST)


def random_rotations(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*batch 3 3"]:
    """Draw rotations uniformly from SO(3), as unit quaternions of normal deviates."""
    quaternion = jax.random.normal(key, (*shape, 4))
    quaternion = quaternion / jnp.linalg.norm(quaternion, axis=-1, keepdims=True)
    w, x, y, z = jnp.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def rotate_points(rotation: Float[AnyArray, "3 3"], points: Float[AnyArray, "points 3"]) -> Float[Array, "points 3"]:
    """Return R p for every row p, in full float32 precision on every device."""
    return jnp.matmul(points, rotation.T, precision=HIGHEST)
