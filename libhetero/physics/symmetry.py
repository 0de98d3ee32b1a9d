"""Point groups, in the axes that RELION and EMAN2 use (`libhetero.point_groups`).

A structure has symmetry S when its density at p and at S p are equal; a pose R and R S then give the
same projection. One asymmetric unit and the operators make the whole: unit Gaussian i stands for the
Gaussians of every S p_i, each with its amplitude and width.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from libhetero.errors import ConfigurationError
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST
from libhetero.point_groups import EXPECTED, generators
from libhetero.records import Gaussians

INSIDE = np.array([0.83, 0.21, 0.52])  # a direction on no axis, which chooses the asymmetric unit


@functools.cache
def symmetry_operators(name: str) -> Float[np.ndarray, "copies 3 3"]:
    """Return the rotations of a point group, the identity first; not to be written to.

    Parameters
    ----------
    name : as in `libhetero.point_groups`, any case; "c1" is the identity alone.

    Raises
    ------
    ConfigurationError : for another name.
    """
    axes = generators(name)
    if axes is None:
        raise ConfigurationError(f"symmetry {name.lower()!r}; expected {EXPECTED}.")
    operators = _closure([_turn(axis, fold) for axis, fold in axes]).astype(np.float32)
    operators.flags.writeable = False
    return operators


def _turn(axis: tuple[float, float, float], fold: int) -> np.ndarray:
    """Return the rotation by 360°/fold about an axis, right-handed, in double precision."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = 2 * np.pi / fold
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _closure(turns: list[np.ndarray]) -> np.ndarray:
    """Return every product of the turns once, the identity first."""
    found = [np.eye(3)]
    for operator in found:  # grows while it is walked
        for turn in turns:
            product = operator @ turn
            if min(np.abs(product - known).max() for known in found) > 1e-6:
                found.append(product)
    return np.stack(found)


def symmetric_copies(gaussians: Gaussians, operators: Float[AnyArray, "copies 3 3"]) -> Gaussians:
    """Return the whole complex of one unit: S p_i for every operator S and Gaussian i.

    Parameters
    ----------
    gaussians : N of them, Å.
    operators : from `symmetry_operators`.

    Returns
    -------
    copies · N Gaussians, the unit itself first; unchanged for one operator.
    """
    if len(operators) == 1:
        return gaussians
    placed = jnp.einsum("cij,nj->cni", jnp.asarray(operators), gaussians.position, precision=HIGHEST)
    count = len(operators)
    return Gaussians(placed.reshape(-1, 3), jnp.tile(gaussians.amplitude, count), jnp.tile(gaussians.sigma, count))


def in_unit(
    position: Float[np.ndarray, "points 3"], operators: Float[np.ndarray, "copies 3 3"]
) -> Bool[np.ndarray, "points"]:
    """Return which points lie in the asymmetric unit.

    The unit is the part of space nearer to one fixed direction q than to any copy of it:
    p·q ≥ p·Sq for every S. Its copies fill space once.
    """
    reach = np.asarray(position, np.float64) @ (np.asarray(operators, np.float64) @ INSIDE).T
    return reach[:, 0] >= reach.max(axis=1) - 1e-9
