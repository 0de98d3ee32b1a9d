"""The latents of a batch solved for: the most probable z of each particle, and draws about it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from libhetero.models.gmm.latent.subspace import Imaging, gauss_newton
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.records import Batch, Gaussians, Observation

Mixtures = Callable[[Float[Array, "batch rank"]], Gaussians]
Tangents = Callable[[Float[Array, "rank"]], tuple[Float[AnyArray, "points 3 rank"], Float[AnyArray, "points rank"]]]


def infer(
    imaging: Imaging,
    layout: Layout,
    mixtures: Mixtures,
    tangents: Tangents,
    batch: Batch,
    rank: int,
    steps: int,
    spread: float | None = None,
) -> tuple[Float[Array, "batch numbers"], Float[Array, "batch numbers numbers"]]:
    """Return posterior means and precisions after some Gauss-Newton steps from z = 0.

    Parameters
    ----------
    imaging : of the set.
    layout : what of a Gaussian changes.
    mixtures : gives the mixture of each latent of a batch.
    tangents : gives what a small step from one latent changes.
    batch : the particles.
    rank : numbers of a latent.
    steps : 1 or more.
    spread : of contrast in the set, of which each particle's is a further number, the last, in units of it about 1;
        None where contrast is not estimated.
    """
    numbers = rank + (spread is not None)
    shape = (len(batch.images), numbers)
    state = jnp.broadcast_to(jnp.zeros_like(batch.weight)[:, None], shape)  # on the batch's devices, as z is
    if not numbers:
        return state, jnp.zeros((*shape, numbers))

    def one(z: Array, mixture: Gaussians, image: Array, observation: Observation) -> tuple[Array, Array]:
        return gauss_newton(imaging, layout, mixture, tangents(z[:rank]), image, observation, z, spread)

    @jax.jit  # so that JAX traces one step and not each
    def step(state: Array) -> tuple[Array, Array]:
        return jax.vmap(one)(state, mixtures(state[:, :rank]), batch.images, batch.observation)

    for _ in range(steps):
        state, precision = step(state)
    return state, precision


def draw(
    mean: Float[Array, "batch rank"], precision: Float[Array, "batch rank rank"], key: PRNGKeyArray
) -> Float[Array, "batch rank"]:
    """Return a latent drawn from each normal posterior: z = mean + L⁻ᵀ n with L Lᵀ the precision."""

    def back(root: Array, normal: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(root, normal, lower=True, trans="T")

    normal = jax.random.normal(key, mean.shape)[..., None]
    return mean + jax.vmap(back)(jnp.linalg.cholesky(precision), normal)[..., 0]
