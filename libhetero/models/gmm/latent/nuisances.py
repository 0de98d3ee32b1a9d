"""What is of a particle's image and not of its molecule: contrast, and what the list's pose is off by.

Each is a number u, N(0, 1) over the set, of which the particles' spreads are learnt (`subspace_fit`):

    α = 1 + s u_1,      t' = t + s_t (u_2, u_3),      R' = exp([s_r (u_4, u_5, u_6)]×) R

They are inferred beside the latent, so that what they do to an image is not taken for a change of the molecule: a
wrong pose shows as mass that comes and goes at all borders, a weak contrast as everything that goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import turned
from libhetero.records import Observation, Pose, PoseChange

NOTICEABLE = 1.0  # variance of what a wrong pose does to an image, over that of noise, from which it is inferred
PARTS = slice(0, 1), slice(1, 3), slice(3, 6)  # contrast, shift and rotation among the six


@dataclass(frozen=True)
class Nuisances:
    """Standard deviations over a set.

    Parameters
    ----------
    contrast : relative.
    shift : Å, along each axis of the image.
    rotation : radians, about each axis of the image and about the view.
    """

    contrast: float = 0.0
    shift: float = 0.0
    rotation: float = 0.0

    @property
    def posed(self) -> bool:
        """Whether poses are off."""
        return self.shift > 0 or self.rotation > 0

    @property
    def numbers(self) -> int:
        """How many numbers u of a particle are inferred: contrast alone, or with the pose."""
        return 6 if self.posed else 1

    def pose_change(
        self, numbers: Float[AnyArray, "*batch numbers"], deviation: Float[AnyArray, "*batch numbers"]
    ) -> PoseChange:
        """Return what poses are off by; 0 ± 0 where they are not inferred.

        Parameters
        ----------
        numbers, deviation : u, and its posterior standard deviations.
        """
        if not self.posed:
            numbers = deviation = jnp.zeros((*numbers.shape[:-1], 6))
        return PoseChange(
            turn=self.rotation * numbers[..., 3:],
            shift=self.shift * numbers[..., 1:3],
            turn_deviation=self.rotation * deviation[..., 3:],
            shift_deviation=self.shift * deviation[..., 1:3],
        )

    def contrast_of(self, numbers: Float[AnyArray, "*batch numbers"]) -> Float[Array, "*batch"]:
        """Return α."""
        return jnp.asarray(1 + self.contrast * numbers[..., 0])

    def moved(self, pose: Pose, numbers: Float[AnyArray, "numbers"]) -> Pose:
        """Return the pose that a particle is at, given the list's."""
        if not self.posed:
            return pose
        return Pose(
            rotation=turned(pose.rotation, self.rotation * numbers[3:]), shift=pose.shift + self.shift * numbers[1:3]
        )

    def seen(self, observation: Observation, numbers: Float[AnyArray, "numbers"]) -> Observation:
        """Return how a particle was seen."""
        pose = self.moved(observation.pose, numbers)
        return replace(observation, pose=pose, contrast=self.contrast_of(numbers))


def noticeable(spreads: Float[np.ndarray, "6"], information: Float[np.ndarray, "6"], always: bool = False) -> Nuisances:
    """Return the nuisances that matter: contrast always, poses where they do more to an image than noise hides.

    Parameters
    ----------
    spreads : of contrast, shift (2) and rotation (3), as `normal_equations.NUISANCES` orders them.
    information : mean of H for one unit of each.
    always : whether poses are kept however little they do.
    """
    shown = spreads**2 * information
    contrast, shift, rotation = (float(np.sqrt(np.mean(spreads[part] ** 2))) for part in PARTS)
    if max(np.mean(shown[1:3]), np.mean(shown[3:])) < NOTICEABLE and not always:
        return Nuisances(contrast)
    return Nuisances(contrast, shift, rotation)
