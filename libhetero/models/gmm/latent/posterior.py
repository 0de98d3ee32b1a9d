"""The latents of a batch solved for: the most probable z of each particle, and draws about it.

A displacement d changes the phase of an image at frequency s by up to 2πsd, and what is linear in it holds below a
radian. Where positions change, each Gauss-Newton step therefore sees rings √2 times as fine as the one before: the
low rings say from far, if roughly, where a piece is, and near there the next ones can be believed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.subspace import Imaging, gauss_newton
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.records import Batch, Gaussians, Observation

Mixtures = Callable[[Float[Array, "batch rank"]], Gaussians]
LEAST_GRID = 8  # pixels
Tangents = Callable[[Float[Array, "rank"]], tuple[Float[AnyArray, "points 3 rank"], Float[AnyArray, "points rank"]]]


def newton_grids(layout: Layout, finest: int, steps: int) -> tuple[int, ...]:
    """Return the pixels of the grid that each Gauss-Newton step sees, coarse to fine where positions change.

    Parameters
    ----------
    layout : what of a Gaussian changes.
    finest : of the last step, an even number.
    steps : 1 or more.
    """
    if not layout.position:
        return (finest,) * steps
    sizes = (2 * round(finest / 2 ** (left / 2) / 2) for left in reversed(range(steps)))
    return tuple(min(max(size, LEAST_GRID), finest) for size in sizes)


def infer(
    imaging: Imaging,
    layout: Layout,
    mixtures: Mixtures,
    tangents: Tangents,
    batch: Batch,
    rank: int,
    steps: int,
    nuisances: Nuisances | None = None,
) -> tuple[Float[Array, "batch numbers"], Float[Array, "batch numbers numbers"]]:
    """Return posterior means and precisions after some Gauss-Newton steps from z = 0, on `newton_grids`.

    Parameters
    ----------
    imaging : of the set.
    layout : what of a Gaussian changes.
    mixtures : gives the mixture of each latent of a batch.
    tangents : gives what a small step from one latent changes.
    batch : the particles.
    rank : numbers of a latent.
    steps : 1 or more.
    nuisances : of the set, whose numbers are inferred after those of the latent; None where none is.
    """
    numbers = rank + (0 if nuisances is None else nuisances.numbers)
    shape = (len(batch.images), numbers)
    state = jnp.broadcast_to(jnp.zeros_like(batch.weight)[:, None], shape)  # on the batch's devices, as z is
    if not numbers:
        return state, jnp.zeros((*shape, numbers))

    def one(seen: Imaging, z: Array, mixture: Gaussians, image: Array, observation: Observation) -> tuple[Array, Array]:
        return gauss_newton(seen, layout, mixture, tangents(z[:rank]), image, observation, z, nuisances)

    @partial(jax.jit, static_argnums=0)  # so that JAX traces one step of a grid and not each
    def step(grid: int, state: Array) -> tuple[Array, Array]:
        made = mixtures(state[:, :rank])
        return jax.vmap(partial(one, imaging.on(grid)))(state, made, batch.images, batch.observation)

    for grid in newton_grids(layout, imaging.grid, steps):
        state, precision = step(grid, state)
    return state, precision


def draw(
    mean: Float[Array, "batch rank"], precision: Float[Array, "batch rank rank"], key: PRNGKeyArray
) -> Float[Array, "batch rank"]:
    """Return a latent drawn from each normal posterior: z = mean + L⁻ᵀ n with L Lᵀ the precision."""

    def back(root: Array, normal: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(root, normal, lower=True, trans="T")

    normal = jax.random.normal(key, mean.shape)[..., None]
    return mean + jax.vmap(back)(jnp.linalg.cholesky(precision), normal)[..., 0]
