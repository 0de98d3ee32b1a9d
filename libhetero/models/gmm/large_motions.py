"""Modes and neutral mixture made true to large displacements, on low rings, before any network is trained.

`latent.subspace_fit` takes images for linear in displacements about the consensus. A displacement d turns the phase at
frequency s by up to 2πsd; far above a radian the answer saturates, as a sine does, so that modes come out too short,
and the consensus itself is smeared along the motion. Where the modes found say that this is so, modes M and neutral
mixture are refined by gradient steps on the misfit

    Σ_i w |T_i P_i G(M z_i) - X_i|²,   z_i drawn from its posterior at the present M (`latent.posterior.infer`),

of the lowest rings first, where phases are small and steps are cheap, then of finer ones. Every few steps the modes
are scaled to where latents have the second moments, 1, that their prior says: alone, they would grow slowly, and if
each were scaled by itself, two would become parallel with latents that cancel. This is
expectation maximisation by stochastic gradients, with the linear part of the decoder.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from libhetero.models.batch_mean import batch_mean
from libhetero.models.gmm.changes import (
    NEUTRAL_FOLDS,
    NEUTRAL_MOVE,
    adapted,
    changed,
    linear_tangents,
    modes_in_outputs,
    start_of_neutral,
    strain,
)
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.posterior import draw, infer
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Batch, Gaussians, Observation

LOGGER = logging.getLogger(__name__)
LARGE = 4.0  # radians at the edge of the grid that the subspace was found on
ROUNDS = ((16, 240), (22, 120), (32, 60))  # pixels of the grid, and steps
BATCH = 64  # particles of a step
MOVE, FOLD = 0.6, 0.02  # Å and e-folds of a step: Adam's rates
SETTLING = 0.4  # rates of the last steps of a round, as a part of those before
SETTLED = 0.6  # part of a round's steps that are taken at the full rates
EVERY = 5  # steps between scalings of the modes
MEMORY = 0.9  # of the latents' second moments, for each step


@dataclass(frozen=True, eq=False)
class LinearModel:
    """The model without its network: a neutral mixture and modes.

    Parameters
    ----------
    config : of the model.
    imaging : of the set, its neutral mixture the starting one.
    edges : (E, 2), pairs of Gaussians next to each other.
    mobile : (N,), 1 for each Gaussian that may change.
    nuisances : of the set, inferred beside the latent; None where none is.
    """

    config: GmmConfig
    imaging: Imaging
    edges: np.ndarray
    mobile: np.ndarray
    nuisances: Nuisances | None = None

    def neutral(self, params: dict[str, Any]) -> Gaussians:
        """Return the neutral mixture of some parameters."""
        return adapted(jax.tree.map(jnp.asarray, self.imaging.neutral), params["neutral"])

    def modes(self, params: dict[str, Any]) -> Float[Array, "points outputs latent"]:
        """Return the modes of some parameters; 0 for Gaussians that may not change."""
        return params["modes"] * jnp.asarray(self.mobile)[:, None, None]

    def posterior(self, params: dict[str, Any], grid: int, batch: Batch) -> tuple[Array, Array]:
        """Return mean and precision of each particle's latent and nuisances, as the rings of a grid show them."""
        neutral, modes = self.neutral(params), self.modes(params)
        layout, rank = self.config.layout.linear, modes.shape[-1]

        def mixtures(latent: Array) -> Gaussians:
            return jax.vmap(lambda z: changed(self.config, neutral, modes @ z))(latent)

        tangents = partial(linear_tangents, self.config, neutral, modes)
        steps = self.config.newton_steps
        return infer(self.imaging.on(grid), layout, mixtures, tangents, batch, rank, steps, self.nuisances)

    def loss(self, params: dict[str, Any], grid: int, batch: Batch, state: Array) -> Float[Array, ""]:
        """Return the mean misfit at given latents and nuisances, and what strain costs, as in training."""
        imaging, neutral, modes = self.imaging.on(grid), self.neutral(params), self.modes(params)
        rank, numbers = modes.shape[-1], np.count_nonzero(self.imaging.root_weight)

        def of_image(image: Array, observation: Observation, own: Array) -> Array:
            mixture = changed(self.config, neutral, modes @ own[:rank])
            whole = symmetric_copies(mixture, imaging.operators)
            seen = observation if self.nuisances is None else self.nuisances.seen(observation, own[rank:])
            made, target = imaging.whitened(image, whole, whole.amplitude[None], seen)
            misfit = 0.5 * jnp.sum((target - made[0]) ** 2) / numbers
            return misfit + self.config.stiffness * strain(neutral, self.edges, mixture)

        return batch_mean(of_image, batch, state)


def phase_at_edge(imaging: Imaging, subspace: Subspace) -> float:
    """Return the phase, in radians, by which what moves most turns the finest ring of the grid.

    π m d / L with m pixels of the grid, L the box in Å and d the displacement that one Gaussian in twenty exceeds.
    """
    columns = subspace.layout.columns()[0]
    if not subspace.layout.position or not subspace.rank:
        return 0.0
    moved = np.sqrt(np.sum(subspace.modes[:, columns] ** 2, axis=(1, 2)))
    return float(np.pi * imaging.grid * np.percentile(moved, 95) / (imaging.box_size * imaging.pixel_size))


def refine_large_motions(
    model: LinearModel, sample: Batch, subspace: Subspace, seed: int
) -> tuple[Gaussians, Subspace]:
    """Return the neutral mixture and the subspace, refined where motions are large and the same where not.

    Parameters
    ----------
    model : of the set, on the grid that the subspace was found on.
    sample : particles that it was found on.
    subspace : mean and modes.
    seed : of the batches and of the latents' draws.

    Returns
    -------
    a neutral mixture that holds the mean change, and the subspace about it, its modes in their order.
    """
    phase = phase_at_edge(model.imaging, subspace)
    rounds = [(grid, steps) for grid, steps in ROUNDS if grid < model.imaging.grid]
    if phase < LARGE or not rounds:
        return model.imaging.neutral, subspace
    LOGGER.info("motions are large (%.1f radians at the finest ring): modes are refined on low rings first", phase)
    params = {"modes": jnp.asarray(modes_in_outputs(model.config, subspace)), "neutral": start_of_neutral(subspace)}
    key = jax.random.key(seed)
    for grid, steps in rounds:
        key, here = jax.random.split(key)
        params = _refined(model, params, grid, steps, sample, here)
    return jax.tree.map(np.asarray, model.neutral(params)), _as_subspace(model, params, subspace)


def _refined(
    model: LinearModel, params: dict[str, Any], grid: int, steps: int, sample: Batch, key: PRNGKeyArray
) -> dict[str, Any]:
    """Return the parameters after some steps on one grid."""
    optimiser, rates = optax.scale_by_adam(b2=0.95), _rates(model.config, params)

    @jax.jit
    def step(params: Any, state: Any, batch: Batch, key: Array, rate: Array) -> tuple[Any, Any, Array]:
        mean, precision = model.posterior(params, grid, batch)
        drawn = draw(mean, precision, key)
        updates, state = optimiser.update(jax.grad(model.loss)(params, grid, batch, drawn), state)
        params = jax.tree.map(lambda value, slope, own: value - rate * own * slope, params, updates, rates)
        latent = drawn[:, : params["modes"].shape[-1]]
        return params, state, latent.T @ latent / len(latent)

    state, random = optimiser.init(params), np.random.default_rng(np.asarray(jax.random.key_data(key)))
    used, one = np.flatnonzero(sample.weight), np.eye(params["modes"].shape[-1], dtype=np.float32)
    second = one
    for number in range(steps):
        rows = random.choice(used, BATCH, replace=len(used) < BATCH)
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], sample)
        rate = 1.0 if number < SETTLED * steps else SETTLING
        params, state, now = step(params, state, batch, jax.random.fold_in(key, number), rate)
        second = MEMORY * second + (1 - MEMORY) * np.asarray(now)
        if number % EVERY == EVERY - 1:
            params, second = params | {"modes": params["modes"] @ np.linalg.cholesky(second)}, one
    return params


def _rates(config: GmmConfig, params: dict[str, Any]) -> dict[str, Any]:
    """Return Adam's rate for every parameter, in its own unit."""
    kinds = list(config.layout.kinds)
    modes = np.array([MOVE / config.displacement_scale if kind == "p" else FOLD for kind in kinds], np.float32)
    neutral = {"position": MOVE / NEUTRAL_MOVE, "amplitude": FOLD / NEUTRAL_FOLDS, "sigma": FOLD / NEUTRAL_FOLDS}
    return {
        "modes": jnp.broadcast_to(modes[:, None], params["modes"].shape),
        "neutral": {name: jnp.full_like(value, neutral[name]) for name, value in params["neutral"].items()},
    }


def _as_subspace(model: LinearModel, params: dict[str, Any], subspace: Subspace) -> Subspace:
    """Return the modes in the columns and units of a subspace, about a mean of 0."""
    layout: Layout = model.config.layout
    position, amplitude, _ = layout.columns()
    modes = np.asarray(model.modes(params))
    given = subspace.layout.chosen(
        position=[modes[:, position] * model.config.displacement_scale], amplitude=[modes[:, amplitude]]
    )
    found = np.concatenate(given, axis=1)
    return replace(subspace, mean=np.zeros_like(subspace.mean), modes=found.astype(np.float32))
