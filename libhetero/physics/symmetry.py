"""Point groups, in the axes that RELION and EMAN2 use.

    c<n>       n-fold along z
    d<n>       n-fold along z, 2-fold along x
    t          3-fold along z, 2-fold along (0, √2, 1)/√3: RELION's T
    tet        the same turned by 180° about z: EMAN2's tet
    o, oct     4-fold along x, y and z: RELION's O, EMAN2's oct
    i, i2      2-fold along x, y and z, 5-fold in the xz plane, (0.526, 0, 0.851): RELION's I and I2
    i1, icos2  2-fold along x, y and z, 5-fold at (0.851, 0, -0.526): RELION's I1, EMAN2's icos2
    i3         5-fold along z, a 2-fold at (-0.526, 0, 0.851): RELION's I3
    i4, icos   5-fold along z, a 2-fold at (0.526, 0, 0.851): RELION's I4, EMAN2's icos

A structure has symmetry S when its density at p and at S p are equal; a pose R and R S then give the
same projection. One asymmetric unit and the operators make the whole: unit Gaussian i stands for the
Gaussians of every S p_i, each with its amplitude and width.
"""

from __future__ import annotations

import functools
import re

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.errors import ConfigurationError
from libhetero.physics.rotations import HIGHEST
from libhetero.records import Gaussians

SHORT, LONG = 0.5257311121191336, 0.8506508083520400  # of an icosahedron's rectangle, unit diagonal
X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
GENERATORS = {
    "t": ((Z, 3), ((0.0, 2**0.5, 1.0), 2)),
    "tet": ((Z, 3), ((0.0, -(2**0.5), 1.0), 2)),
    "o": ((Z, 4), ((1.0, 1.0, 1.0), 3)),
    "i1": ((X, 2), (Z, 2), ((LONG, 0.0, -SHORT), 5)),
    "i2": ((X, 2), (Z, 2), ((SHORT, 0.0, LONG), 5)),
    "i3": ((Z, 5), ((-SHORT, 0.0, LONG), 2)),
    "i4": ((Z, 5), ((SHORT, 0.0, LONG), 2)),
}
OTHER_NAMES = {"oct": "o", "i": "i2", "icos": "i4", "icos2": "i1"}
LARGEST_FOLD = 100
INSIDE = np.array([0.83, 0.21, 0.52])  # a direction on no axis, which chooses the asymmetric unit


@functools.cache
def symmetry_operators(name: str) -> Float[np.ndarray, "copies 3 3"]:
    """Return the rotations of a point group, the identity first; not to be written to.

    Parameters
    ----------
    name : as in the module's table, any case; "c1" is the identity alone.

    Raises
    ------
    ConfigurationError : for another name.
    """
    name = OTHER_NAMES.get(name.lower(), name.lower())
    found = re.fullmatch(r"([cd])([1-9]\d*)", name)
    if found and int(found[2]) <= LARGEST_FOLD:
        generators = ((Z, int(found[2])), *([(X, 2)] if found[1] == "d" else []))
    elif name in GENERATORS:
        generators = GENERATORS[name]
    else:
        raise ConfigurationError(
            f"symmetry {name!r}; expected c1, c2 … c{LARGEST_FOLD}, d1 …, t, tet, o, i1, i2, i3, i4 "
            "or icos. Their axes are in docs/conventions.md."
        )
    operators = _closure([_turn(axis, fold) for axis, fold in generators]).astype(np.float32)
    operators.flags.writeable = False
    return operators


def _turn(axis: tuple[float, float, float], fold: int) -> np.ndarray:
    """Return the rotation by 360°/fold about an axis, right-handed, in double precision."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = 2 * np.pi / fold
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _closure(generators: list[np.ndarray]) -> np.ndarray:
    """Return every product of the generators once, the identity first."""
    found = [np.eye(3)]
    for operator in found:  # grows while it is walked
        for generator in generators:
            product = operator @ generator
            if min(np.abs(product - known).max() for known in found) > 1e-6:
                found.append(product)
    return np.stack(found)


def symmetric_copies(gaussians: Gaussians, operators: Float[Array, "copies 3 3"]) -> Gaussians:
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


def in_unit(position: Float[np.ndarray, "points 3"], operators: Float[np.ndarray, "copies 3 3"]) -> np.ndarray:
    """Return which points lie in the asymmetric unit, (points,) bool.

    The unit is the part of space nearer to one fixed direction q than to any copy of it:
    p·q ≥ p·Sq for every S. Its copies fill space once.
    """
    reach = np.asarray(position, np.float64) @ (np.asarray(operators, np.float64) @ INSIDE).T
    return reach[:, 0] >= reach.max(axis=1) - 1e-9
