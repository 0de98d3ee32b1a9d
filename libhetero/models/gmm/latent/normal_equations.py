"""What the particles of a sample say of the changes of patches: the normal equations H, g of each.

Gaussians are grouped into patches by place; all of a patch change alike. With A the derivative of the whitened
image in the changes of the patches and r what the neutral mixture leaves of the particle's image,

    H = A Aᵀ,   g = A r

in quadrants (`libhetero.physics.quadrants`), where one product of matrices projects all patches. A displacement
of 1 Å changes an image F by -2πi k F and a relative amplitude of 1 by F; both sides are multiplied by i, so that
the three displacements, which are more, are real factors 2πk.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.models.gmm.clusters import group_points
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.physics.quadrants import times_i, weights_in_quadrants
from libhetero.physics.rotations import HIGHEST
from libhetero.records import Batch, Gaussians, Observation, Pose

FINE_COLUMNS = 192
COARSE_COLUMNS = 72
TOGETHER = 8  # particles whose normal equations are formed at once


@dataclass(frozen=True, eq=False)
class Patches:
    """Gaussians grouped by place.

    Parameters
    ----------
    fine : (N,) patch of each Gaussian, 0 .. K - 1; -1 where it may not change.
    coarse : (K,) coarse patch of each fine one.
    """

    fine: np.ndarray
    coarse: np.ndarray


def make_patches(imaging: Imaging, layout: Layout, seed: int, mobile: np.ndarray) -> Patches:
    """Group the Gaussians that may change by k-means, and the groups again, each counting once."""
    position = np.asarray(imaging.neutral.position, np.float64)[mobile]
    columns = len(layout.kinds)
    fine = min(len(position), FINE_COLUMNS // columns)
    coarse = min(fine, COARSE_COLUMNS // columns)
    centre, label = group_points(position, fine, seed)
    held, label = np.unique(label, return_inverse=True)
    _, merged = group_points(centre[held], min(coarse, len(held)), seed)
    patch = np.full(len(mobile), -1)
    patch[mobile] = label
    return Patches(patch, np.unique(merged, return_inverse=True)[1])


def normal_equations(
    imaging: Imaging, sample: Batch, patch: np.ndarray, layout: Layout
) -> tuple[Float[np.ndarray, "particles columns columns"], Float[np.ndarray, "particles columns"]]:
    """Return H and g of every particle for changes of patches, columns ordered kind by kind."""
    several = jax.jit(jax.vmap(PatchImages.of(imaging, patch, layout).equations))
    used = np.flatnonzero(sample.weight)
    columns = (patch.max() + 1) * len(layout.kinds)
    hessian = np.empty((len(used), columns, columns), np.float32)
    gradient = np.empty((len(used), columns), np.float32)

    def fill(start: int) -> None:
        here = used[start : start + TOGETHER]
        rows, padded = slice(start, start + len(here)), np.resize(here, TOGETHER)  # one shape is compiled
        part = jax.tree.map(lambda leaf: leaf[padded], sample)
        made = several(part.images, part.observation)
        hessian[rows], gradient[rows] = (np.asarray(array)[: len(here)] for array in made)

    with ThreadPoolExecutor(os.cpu_count() if jax.default_backend() == "cpu" else 1) as pool:
        list(pool.map(fill, range(0, len(used), TOGETHER)))
    return hessian, gradient


@dataclass(frozen=True, eq=False)
class PatchImages:
    """What one particle shows of patches of Gaussians, which stand patch by patch, padded to equal number.

    Parameters
    ----------
    imaging : of the set.
    layout : what of a patch changes.
    position : (K · M, 3), Å, of the K patches' M members.
    sigma : (K · M,), Å.
    amplitude : (K, M), 0 for padding.
    still : the Gaussians that are in no patch.
    """

    imaging: Imaging
    layout: Layout
    position: np.ndarray
    sigma: np.ndarray
    amplitude: np.ndarray
    still: Gaussians

    @classmethod
    def of(cls, imaging: Imaging, patch: Int[np.ndarray, "points"], layout: Layout) -> PatchImages:
        """Lay the neutral mixture out by the patch of each Gaussian; -1 for none."""
        place, inside = _layout(patch)
        neutral = jax.tree.map(np.asarray, imaging.neutral)
        return cls(
            imaging,
            layout,
            neutral.position[place.ravel()],
            neutral.sigma[place.ravel()],
            neutral.amplitude[place] * inside,
            jax.tree.map(lambda array: array[patch < 0], neutral),
        )

    def equations(
        self, image: Float[AnyArray, "n n"], observation: Observation
    ) -> tuple[Float[Array, "columns columns"], Float[Array, "columns"]]:
        """Return H and g of one particle, columns ordered kind by kind."""
        target = times_i(self.imaging.target(image))
        if len(self.imaging.operators) > 1:
            changes, whole = self._complex(observation)
            return _products(changes, target - whole)
        changes, whole = self._unit(observation)
        hessian, gradient = _products(changes, target - whole)
        turned = self._turn(observation.pose.rotation)
        hessian = jnp.matmul(turned.T, jnp.matmul(hessian, turned, precision=HIGHEST), precision=HIGHEST)
        return hessian, jnp.matmul(turned.T, gradient, precision=HIGHEST)

    def _unit(self, observation: Observation) -> tuple[Float[Array, "rows pixels"], Float[Array, "side side"]]:
        """Return what one unit shows, times i: changes along the axes of the image, and the unit itself."""
        made = self.imaging.patches(self.position, self.sigma, self.amplitude, observation)
        whole = jnp.sum(made, axis=0)
        if len(self.still.sigma):
            still = self.still
            whole = whole + self.imaging.patches(still.position, still.sigma, still.amplitude[None], observation)[0]
        kx, ky = (weights_in_quadrants(frequency) for frequency in self.imaging.frequencies())
        parts = self.layout.chosen(position=[kx * made, ky * made], amplitude=[times_i(made)])
        return jnp.concatenate(parts).reshape(len(parts) * len(made), -1), times_i(whole)

    def _turn(self, rotation: Float[Array, "3 3"]) -> Float[Array, "rows columns"]:
        """Return the matrix from changes of patches to those of `_unit`."""
        same = jnp.eye(len(self.amplitude))
        parts = self.layout.chosen(position=[jnp.kron(rotation[:2], same)], amplitude=[same])
        return jax.scipy.linalg.block_diag(*parts)

    def _complex(self, observation: Observation) -> tuple[Float[Array, "columns pixels"], Float[Array, "side side"]]:
        """Return the sum over all units of a symmetric complex, changes in the model's own axes."""
        pose = observation.pose

        def add(total: tuple[Array, Array], operator: Array) -> tuple[tuple[Array, Array], None]:
            rotation = jnp.matmul(pose.rotation, operator, precision=HIGHEST)
            changes, whole = self._unit(replace(observation, pose=Pose(rotation=rotation, shift=pose.shift)))
            changes = jnp.matmul(self._turn(rotation).T, changes, precision=HIGHEST)
            return (total[0] + changes, total[1] + whole), None

        columns, side = len(self.amplitude) * len(self.layout.kinds), self.imaging.grid + 2
        start = jnp.zeros((columns, side**2)), jnp.zeros((side, side))
        return jax.lax.scan(add, start, jnp.asarray(self.imaging.operators))[0]


def _products(flat: Array, rest: Array) -> tuple[Array, Array]:
    """Return A Aᵀ and A r; in full precision, for A Aᵀ must stay positive definite."""
    return jnp.matmul(flat, flat.T, precision=HIGHEST), jnp.matmul(flat, rest.reshape(-1), precision=HIGHEST)


def _layout(patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (K, M) Gaussians of each patch, repeated to equal number, and 1 where not repeated."""
    count = np.bincount(patch[patch >= 0])
    place = np.zeros((len(count), count.max()), np.int64)
    inside = np.arange(count.max()) < count[:, None]
    place[inside] = np.argsort(patch, kind="stable")[np.count_nonzero(patch < 0) :]
    return place, inside.astype(np.float32)
