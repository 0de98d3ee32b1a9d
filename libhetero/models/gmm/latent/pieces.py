"""Where a piece of the molecule lies in a particle, refined against its image with the rest modelled.

With the mixture of the particle decoded, the piece's Gaussians turn by ω about their pivot c and shift by e, both in
the image's axes,

    x → exp([ω]×) (R q - R c) + R c + t + e,      ω = s_r (u_3, u_4, u_5),      e = s_t (u_1, u_2),      u ~ N(0, 1)

and all others stay where they are decoded. u is found by Gauss-Newton steps as a latent is (`subspace`): with Y the
image less the rest, P that of the piece at u, and J its derivative,

    u ← u + (JᵀWJ + 1)⁻¹ (JᵀW (Y - P) - u)

The spreads are those that the particles themselves show (`libhetero.pipelines.aligning.motions`).
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from libhetero.models.gmm.latent.subspace import Imaging, rigid_changes
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST, turned
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Batch, Gaussians, Observation, Pose

STEPS = 3
NUMBERS = 5  # of a particle: shift (2) and rotation (3)


def piece_pose(
    pose: Pose, pivot: Float[AnyArray, "3"], numbers: Float[Array, "5"], spread: Float[AnyArray, "2"]
) -> Pose:
    """Return the pose at which the piece, as it is decoded, is seen where u says.

    Parameters
    ----------
    pose : of the molecule.
    pivot : c, Å.
    numbers : u.
    spread : s_t (Å) and s_r (radians).
    """
    rotation = turned(pose.rotation, spread[1] * numbers[2:])
    stays = jnp.matmul(pose.rotation - rotation, pivot, precision=HIGHEST)[:2]
    return Pose(rotation=rotation, shift=pose.shift + stays + spread[0] * numbers[:2])


def refined_piece(
    imaging: Imaging,
    mixture: Gaussians,
    member: Bool[np.ndarray, "points"],
    image: Float[AnyArray, "n n"],
    observation: Observation,
    spread: Float[AnyArray, "2"],
) -> tuple[Float[Array, "5"], Float[Array, "5 5"]]:
    """Return u of one particle and its posterior covariance.

    Parameters
    ----------
    imaging : of the set; its neutral mixture is not used.
    mixture : as decoded, one unit of a symmetric complex.
    member : which of its Gaussians are the piece, in the first unit alone.
    image, observation : of the particle, with its contrast.
    spread : s_t and s_r.
    """
    inside = np.flatnonzero(member)
    piece = jax.tree.map(lambda column: column[inside], mixture)
    whole = symmetric_copies(mixture, imaging.operators)
    others = np.ones(len(imaging.operators) * len(member), np.float32)
    others[inside] = 0
    rest, target = imaging.whitened(image, whole, (others * whole.amplitude)[None], observation)
    pivot = centre_of(piece)
    scales = jnp.repeat(jnp.asarray(spread), np.array([2, 3]), total_repeat_length=NUMBERS)[:, None, None, None]
    left, state = target - rest[0], jnp.zeros(NUMBERS)
    precision = jnp.eye(NUMBERS)
    for _ in range(STEPS):
        pose = piece_pose(observation.pose, pivot, state, spread)
        place = jnp.matmul(pose.rotation, (piece.position - pivot).T, precision=HIGHEST)
        amplitudes = jnp.concatenate([piece.amplitude[None], place * piece.amplitude])
        made, _ = imaging.whitened(image, piece, amplitudes, replace(observation, pose=pose))
        change = (scales * rigid_changes(made, imaging.frequencies())).reshape(NUMBERS, -1)
        precision = jnp.matmul(change, change.T, precision=HIGHEST) + jnp.eye(NUMBERS)
        slope = jnp.matmul(change, (left - made[0]).reshape(-1), precision=HIGHEST) - state
        state = state + jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(precision), slope)
    return state, jnp.linalg.inv(precision)


def centre_of(piece: Gaussians) -> Float[Array, "3"]:
    """Return the pivot of a piece: the mean place of its Gaussians, weighted by amplitude where it is above 0."""
    weight = jnp.maximum(piece.amplitude, 0) + 1e-6
    return weight @ piece.position / jnp.sum(weight)


def refined_pieces(
    imaging: Imaging,
    mixtures: Gaussians,
    member: Bool[np.ndarray, "points"],
    batch: Batch,
    contrast: Float[AnyArray, "batch"],
    spread: Float[AnyArray, "2"],
) -> tuple[Pose, Float[Array, "batch 5"], Float[Array, "batch 5 5"]]:
    """Return the poses at which the decoded piece is seen in each image, u, and the posterior covariance of u.

    Parameters
    ----------
    imaging, member, spread : as in `refined_piece`.
    mixtures : as decoded for each particle.
    batch : the particles.
    contrast : of each.
    """

    def one(mixture: Gaussians, image: Array, observation: Observation) -> tuple[Pose, Array, Array]:
        numbers, covariance = refined_piece(imaging, mixture, member, image, observation, spread)
        pivot = centre_of(jax.tree.map(lambda column: column[np.flatnonzero(member)], mixture))
        return piece_pose(observation.pose, pivot, numbers, spread), numbers, covariance

    observation = replace(batch.observation, contrast=jnp.asarray(contrast))
    return jax.vmap(one)(mixtures, batch.images, observation)
