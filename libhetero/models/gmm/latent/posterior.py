"""The latents of a batch solved for: the most probable z of each particle, and draws about it.

A displacement d changes the phase of an image at frequency s by up to 2πsd, and what is linear in it holds below a
radian. Where positions change, each Gauss-Newton step therefore sees rings √2 times as fine as the one before: the
low rings say from far, if roughly, where a piece is, and near there the next ones can be believed.

Several images may show one particle, as the tilts of a series do: they have one latent z, and each its own nuisances u.
With the normal system of image i in blocks, A_zz, A_zu, A_uu and b_z, b_u, its nuisances are solved for and put in,

    K_i = (A_uu + 1)⁻¹,   z ← z + S⁻¹ (Σ_i [b_z - A_zu K_i (b_u - u)] - z),   S = Σ_i [A_zz - A_zu K_i A_uz] + 1

and u ← u + K_i (b_u - u - A_uz δz). S is the precision of z given all of its images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.subspace import Imaging, gauss_newton, normal_system
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST
from libhetero.records import Batch, Gaussians, Observation
from libhetero.tilts import of_images, of_particles

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
    mixtures : gives the mixture of each latent of some particles.
    tangents : gives what a small step from one latent changes.
    batch : the particles.
    rank : numbers of a latent.
    steps : 1 or more.
    nuisances : of the set, whose numbers are inferred after those of the latent; None where none is.
    """
    numbers = rank + (0 if nuisances is None else nuisances.numbers)
    views, shape = batch.views, (len(batch.images), numbers)
    shared = rank > 0 and views > 1
    state = jnp.broadcast_to(jnp.zeros_like(batch.weight)[:, None], shape)  # on the batch's devices, as z is
    if not numbers:
        return state, jnp.zeros((*shape, numbers))

    each = normal_system if shared else gauss_newton

    def one(seen: Imaging, z: Array, mixture: Gaussians, image: Array, observation: Observation) -> tuple[Array, Array]:
        return each(seen, layout, mixture, tangents(z[:rank]), image, observation, z, nuisances)

    @partial(jax.jit, static_argnums=0)  # so that JAX traces one step of a grid and not each
    def step(grid: int, state: Array) -> tuple[Array, Array]:
        made = of_images(mixtures(of_particles(state[:, :rank], views)), views)
        found = jax.vmap(partial(one, imaging.on(grid)))(state, made, batch.images, batch.observation)
        return _solved(found, state, jnp.asarray(batch.weight), rank, views) if shared else found

    for grid in newton_grids(layout, imaging.grid, steps):
        state, precision = step(grid, state)
    return state, precision


def summed(
    rows: Float[Array, "images *rest"], weight: Float[AnyArray, "images"], views: int
) -> Float[Array, "particles *rest"]:
    """Return the sum over the images of each particle, those without weight left out.

    Parameters
    ----------
    rows : of images.
    weight : of each.
    views : images of each particle.
    """
    weighted = rows * jnp.asarray(weight).reshape(-1, *(1,) * (rows.ndim - 1))
    return weighted.reshape(len(rows) // views, views, *rows.shape[1:]).sum(axis=1)


def _solved(
    system: tuple[Float[Array, "images numbers numbers"], Float[Array, "images numbers"]],
    state: Float[Array, "images numbers"],
    weight: Float[Array, "images"],
    rank: int,
    views: int,
) -> tuple[Float[Array, "images numbers"], Float[Array, "images numbers numbers"]]:
    """Return one step for particles of several images; the module says the equations.

    The precision of each image's numbers is such that that of z is the particle's, and that of u given z the image's.
    """
    (seen, said), z, u = system, state[:, :rank], state[:, rank:]
    own = seen[:, rank:, rank:] + jnp.eye(u.shape[1])
    cross, slope = seen[:, :rank, rank:], said[:, rank:] - u
    taken = jnp.linalg.solve(own, jnp.swapaxes(cross, 1, 2))  # K A_uz
    shared = jnp.matmul(cross, taken, precision=HIGHEST)

    precision = summed(seen[:, :rank, :rank] - shared, weight, views) + jnp.eye(rank)
    rest = said[:, :rank] - jnp.einsum("iuz,iu->iz", taken, slope, precision=HIGHEST)
    rest = summed(rest, weight, views) - of_particles(z, views)
    moved = of_images(jnp.linalg.solve(precision, rest[..., None])[..., 0], views)
    rest_of_image = slope - jnp.einsum("izu,iz->iu", cross, moved, precision=HIGHEST)
    state = state + jnp.concatenate([moved, jnp.linalg.solve(own, rest_of_image[..., None])[..., 0]], axis=1)
    top = jnp.concatenate([of_images(precision, views) + shared, cross], axis=2)
    return state, jnp.concatenate([top, jnp.concatenate([jnp.swapaxes(cross, 1, 2), own], axis=2)], axis=1)


def draw(
    mean: Float[Array, "batch numbers"],
    precision: Float[Array, "batch numbers numbers"],
    key: PRNGKeyArray,
    rank: int = 0,
    views: int = 1,
) -> Float[Array, "batch numbers"]:
    """Return numbers drawn from each normal posterior: mean + L⁻ᵀ n with L Lᵀ the precision.

    Parameters
    ----------
    rank : of the numbers, those of the latent, which images of one particle have in common.
    views : images of each particle.
    """

    def back(root: Array, normal: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(root, normal, lower=True, trans="T")

    normal = jax.random.normal(key, mean.shape)[..., None]
    if views == 1:
        return mean + jax.vmap(back)(jnp.linalg.cholesky(precision), normal)[..., 0]
    # Nuisances first: what is drawn of a latent then depends on its own normal numbers alone, which are the particle's.
    order = np.roll(np.arange(mean.shape[1]), -rank)
    shared = of_images(of_particles(normal[:, :rank], views), views)
    normal = jnp.concatenate([normal[:, rank:], shared], axis=1)
    drawn = jax.vmap(back)(jnp.linalg.cholesky(precision[:, order[:, None], order]), normal)[..., 0]
    return mean + drawn[:, np.argsort(order)]
