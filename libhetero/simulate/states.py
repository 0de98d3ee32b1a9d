"""What differs from particle to particle: pieces present or absent, pieces turned, structures."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from libhetero.simulate.configuration import StateConfig


@dataclass(frozen=True)
class MovingStructures:
    """Which structures of a mixture move.

    Parameters
    ----------
    max_angle : radians, of every structure; each of its bodies but the core turns by an angle uniform in ± this,
        independently. 0 for a structure that does not move.
    bodies : of each structure that moves, the core among them.
    """

    max_angle: tuple[float, ...]
    bodies: int

    @property
    def numbers(self) -> list[int]:
        """Numbers of the structures that move, from 0."""
        return [k for k, angle in enumerate(self.max_angle) if angle > 0]


def state_from(
    deviates: Float[Array, "2 bodies"], config: StateConfig, max_angle: Float[Array, ""] | None = None
) -> tuple[Float[Array, "bodies"], Float[Array, "bodies"]]:
    """Turn uniform deviates into which bodies are present (0 or 1) and their angles in radians.

    Parameters
    ----------
    max_angle : radians, of this particle's structure; None for that of all.
    """
    place = jnp.arange(deviates.shape[1])
    first, turning = place == 0, place > 0
    present = first | (deviates[0] < config.probability)
    angle = (2 * deviates[1] - 1) * (config.max_angle if max_angle is None else max_angle)
    if config.moving:
        turning = jnp.isin(place, jnp.asarray(config.moving))
        present = present | turning
    return present.astype(jnp.float32), jnp.where(turning, angle, 0.0)


def state_number(present: Integer[np.ndarray, "particles bodies"]) -> Int[np.ndarray, "particles"]:
    """Return one label per state, Σ_b present_b 2^(b-1) over the bodies b ≥ 1, (N,) int."""
    bits = present[:, 1:].astype(np.int64)
    return bits @ (1 << np.arange(bits.shape[1], dtype=np.int64))


def assign_structures(seed: int, particles: int, structures: int) -> Int[np.ndarray, "particles"]:
    """Return the structure of every particle, (N,) int32: equal shares in a random order."""
    labels = np.arange(particles, dtype=np.int32) % structures
    return np.random.default_rng([seed, structures]).permutation(labels)


def hinge_and_axis(
    core: Float[np.ndarray, "core 3"], piece: Float[np.ndarray, "piece 3"], seed: int
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Choose where a piece is hinged to the core and the axis it turns about.

    The hinge is the middle of the piece's points nearest to the core; the axis is a random
    direction square to the line from the hinge to the piece's centroid, so that the piece
    swings as widely as it can.

    Parameters
    ----------
    core, piece : points, Å.
    seed : chooses the direction.

    Returns
    -------
    hinge in Å and axis of length 1, float32.
    """
    thinned = core[:: max(1, len(core) // 2000)]
    distance = np.array([np.min(np.sum((thinned - point) ** 2, axis=1)) for point in piece])
    nearest = piece[np.argsort(distance, kind="stable")[: max(1, len(piece) // 20)]]
    hinge = nearest.mean(axis=0)
    arm = piece.mean(axis=0) - hinge
    arm = arm / max(float(np.linalg.norm(arm)), 1e-6)
    axis = np.cross(arm, np.random.default_rng(seed).normal(size=3))
    axis = axis / np.linalg.norm(axis)
    return hinge.astype(np.float32), axis.astype(np.float32)
