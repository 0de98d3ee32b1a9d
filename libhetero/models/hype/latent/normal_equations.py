"""What each particle says of its place in a subspace of volumes: the normal equations H, g.

With A = τ S [mean | modes] the columns of a particle's slice, real and imaginary parts below each other and times √2,
so that their noise has variance 1,

    g = Aᵀ x,   H = Aᵀ A,      log p(x | v) - log p(x | noise alone) = gᵀ v - ½ vᵀ H v,   v = (1, z)

The upper triangle of H is kept, row by row; off-diagonal elements stand for two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.models.blocks import over_blocks
from libhetero.models.hype.latent.grid import OnGrid
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST

TOGETHER = 256  # particles at once


@dataclass(frozen=True, eq=False)
class Equations:
    """Normal equations of particles, on the host.

    Parameters
    ----------
    gradient : g.
    hessian : upper triangle of H.
    """

    gradient: Float[np.ndarray, "particles columns"]
    hessian: Float[np.ndarray, "particles pairs"]

    def __len__(self) -> int:
        return len(self.gradient)

    @property
    def columns(self) -> int:
        """Of the subspace: mean and modes."""
        return self.gradient.shape[1]

    @cached_property
    def upper(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the elements kept."""
        return np.triu_indices(self.columns)

    def moments(self) -> tuple[Float[np.ndarray, "particles rank"], Float[np.ndarray, "particles pairs"]]:
        """Return posterior means of z under the prior N(0, 1), and the upper triangle of E[z zᵀ]."""
        mean, second = over_blocks(_moments, (self.gradient, self.hessian), (), TOGETHER, columns=self.columns)
        return mean, second

    def whole(
        self, rows: np.ndarray
    ) -> tuple[Float[np.ndarray, "chosen columns"], Float[np.ndarray, "chosen columns columns"]]:
        """Return g and H of some particles."""
        return self.gradient[rows], symmetric(self.hessian[rows], self.columns, self.upper)


def normal_equations(seen: OnGrid, table: Complex[Array, "points columns"]) -> Equations:
    """Return the equations of particles in a subspace.

    Parameters
    ----------
    seen : slices.
    table : mean and modes beside each other.
    """
    gradient, hessian = over_blocks(_equations, (seen.point, seen.image, seen.transfer), (parts_of(table),), TOGETHER)
    return Equations(gradient, hessian)


def parts_of(table: Complex[AnyArray, "points columns"]) -> Float[Array, "points columns_twice"]:
    """Return the columns of a table as real numbers: real parts, then imaginary, times √2."""
    table = jnp.asarray(table)
    return jnp.concatenate([table.real, table.imag], axis=1) * np.float32(np.sqrt(2))


@jax.jit
def _equations(point: Array, image: Array, transfer: Array, parts: Array) -> tuple[Array, Array]:
    def one(particle: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        at, plane, passed = particle
        return equations_of(at, plane, passed, parts)

    found: tuple[Array, Array] = jax.lax.map(one, (point, image, transfer))
    return found


def equations_of(
    point: Int[Array, "pixels"],
    image: Complex[Array, "pixels"],
    transfer: Float[Array, "pixels"],
    parts: Float[Array, "points columns_twice"],
) -> tuple[Float[Array, "columns"], Float[Array, "pairs"]]:
    """Return g and the upper triangle of H of one particle.

    Parameters
    ----------
    point, image, transfer : of its slice, as in `OnGrid`.
    parts : of the subspace, from `parts_of`.
    """
    columns = parts.shape[1] // 2
    rows, across = np.triu_indices(columns)
    both = parts[point] * transfer[:, None]
    real, imaginary = both[:, :columns], both[:, columns:]
    product = partial(jnp.matmul, precision=HIGHEST)
    gradient = np.float32(np.sqrt(2)) * (product(image.real, real) + product(image.imag, imaginary))
    hessian = product(real.T, real) + product(imaginary.T, imaginary)
    return gradient, hessian[rows, across]


@partial(jax.jit, static_argnames="columns")
def _moments(gradient: Array, hessian: Array, columns: int) -> tuple[Array, Array]:
    upper, kept = np.triu_indices(columns), np.triu_indices(columns - 1)

    def one(linear: Array, packed: Array) -> tuple[Array, Array]:
        whole = jnp.zeros((columns, columns)).at[upper].set(packed)
        whole = whole + jnp.triu(whole, 1).T
        precision = whole[1:, 1:] + jnp.eye(columns - 1)
        factor = jax.scipy.linalg.cho_factor(precision)
        covariance = jax.scipy.linalg.cho_solve(factor, jnp.eye(columns - 1))
        mean = jnp.matmul(covariance, linear[1:] - whole[0, 1:], precision=HIGHEST)
        return mean, (covariance + mean[:, None] * mean)[kept]

    found: tuple[Array, Array] = jax.vmap(one)(gradient, hessian)
    return found


def packed(matrices: Float[np.ndarray, "*sets columns columns"]) -> Float[np.ndarray, "*sets pairs"]:
    """Return symmetric matrices as they meet the upper triangle of H: elements off the diagonal count twice."""
    rows, columns = np.triu_indices(matrices.shape[-1])
    return matrices[..., rows, columns] * np.where(rows == columns, 1, 2)


def symmetric(
    packed: Float[np.ndarray, "sets pairs"], side: int, upper: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, "sets side side"]:
    """Return the matrices of which the upper triangles are given."""
    whole = np.empty((len(packed), side, side), packed.dtype)
    whole[:, upper[0], upper[1]] = packed
    whole[:, upper[1], upper[0]] = packed
    return whole
