"""Poses: rotations and shifts drawn at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from libhetero.physics.rotations import random_rotations
from libhetero.records import Pose
from tests.reference import rotations as rotation_twin


def poses(count: int, seed: int = 0, spread: float = 3.0) -> Pose:
    """Return random rotations, and shifts of `spread` Å on each axis, as NumPy."""
    rotation = np.array(random_rotations(jax.random.key(seed), (count,)))
    shift = np.random.default_rng(seed).normal(0, spread, (count, 2))
    return Pose(rotation=rotation, shift=shift.astype(np.float32))


def one_pose(seed: int = 1) -> Pose:
    """Return one rotation of random Euler angles, with a shift of some Å."""
    rotation = rotation_twin.from_euler(*np.random.default_rng(seed).uniform(-3, 3, 3))
    return Pose(rotation=jnp.asarray(rotation, jnp.float32), shift=jnp.asarray([3.1, -2.3], jnp.float32))
