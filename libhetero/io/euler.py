"""RELION's Euler angles and rotation matrices, NumPy only.

    R = Rz(psi) Ry(tilt) Rz(rot), passive matrices:
    Rz(a) = [[c, s, 0], [-s, c, 0], [0, 0, 1]]   Ry(a) = [[c, 0, -s], [0, 1, 0], [s, 0, c]]

R takes model to image coordinates. `libhetero.physics.rotations` is the JAX twin. SciPy's `Rotation` gives the
same numbers, but at tilt 0 and 180° it warns and turns rot into psi's place, and it takes three to five times as long.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def matrix_from_euler(
    rot: Float[np.ndarray, "particles"], tilt: Float[np.ndarray, "particles"], psi: Float[np.ndarray, "particles"]
) -> Float[np.ndarray, "particles 3 3"]:
    """Return R, float64, of angles in degrees."""
    (cr, sr), (ct, st), (cp, sp) = (
        (np.cos(angle), np.sin(angle)) for angle in (np.radians(np.asarray(a, np.float64)) for a in (rot, tilt, psi))
    )
    rows = [
        [cp * ct * cr - sp * sr, cp * ct * sr + sp * cr, -cp * st],
        [-sp * ct * cr - cp * sr, -sp * ct * sr + cp * cr, sp * st],
        [st * cr, st * sr, ct],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def euler_from_matrix(
    rotation: Float[np.ndarray, "particles 3 3"],
) -> tuple[Float[np.ndarray, "particles"], Float[np.ndarray, "particles"], Float[np.ndarray, "particles"]]:
    """Return rot, tilt, psi in degrees of R; at tilt 0 or 180° rot is 0."""
    r = np.asarray(rotation, np.float64)
    sine = np.hypot(r[:, 2, 0], r[:, 2, 1])
    tilt = np.arctan2(sine, r[:, 2, 2])
    level = sine < 1e-6
    rot = np.where(level, 0.0, np.arctan2(r[:, 2, 1], r[:, 2, 0]))
    flat = np.arctan2(r[:, 0, 1], r[:, 1, 1])
    psi = np.where(level, flat, np.arctan2(r[:, 1, 2], -r[:, 0, 2]))
    return np.degrees(rot), np.degrees(tilt), np.degrees(psi)
