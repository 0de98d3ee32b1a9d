"""What a change of the decoder does to a Gaussian, and how changes are kept reasonable."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import cKDTree

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.subspace import Subspace
from libhetero.records import Gaussians

ROUNDING = 0.04  # of the hinge that keeps amplitudes above 0
NEUTRAL_MOVE, NEUTRAL_FOLDS = 6.0, 3.0  # Å, e-folds: one unit of the neutral mixture's adaptation
NEIGHBOURS = 12


def positive(value: Array) -> tuple[Array, Array]:
    """Return f(x) = (x + √(x² + ε)) / (1 + √(1 + ε)) and its derivative: above 0, and f(1) = 1."""
    root, scale = jnp.sqrt(value**2 + ROUNDING), 1 + (1 + ROUNDING) ** 0.5
    return (value + root) / scale, (1 + value / root) / scale


def changed(config: GmmConfig, neutral: Gaussians, change: Float[Array, "points outputs"]) -> Gaussians:
    """Return the neutral mixture with a change applied.

    position + displacement_scale · d; amplitude · f(1 + a), f of `positive`; width · e^(½ tanh s).

    Parameters
    ----------
    change : columns d (3), a, s, those of `config.vary`.
    """
    position, amplitude, sigma = neutral.position, neutral.amplitude, neutral.sigma
    column = 0
    if "p" in config.vary:
        position = position + config.displacement_scale * change[:, :3]
        column = 3
    if "a" in config.vary:
        amplitude = amplitude * positive(1 + change[:, column])[0]
        column += 1
    if "s" in config.vary:
        sigma = sigma * jnp.exp(0.5 * jnp.tanh(change[:, column]))
    return Gaussians(position, amplitude, sigma)


def linear_tangents(
    config: GmmConfig, neutral: Gaussians, modes: Float[Array, "points outputs latent"], z: Array
) -> tuple[Array | None, Array | None]:
    """Return what the modes change for a small step from z.

    Returns
    -------
    displacement (N, 3, r) in Å and change of amplitude (N, r); None for what does not vary.
    """
    displacement = amplitude = None
    column = 0
    if "p" in config.vary:
        displacement = config.displacement_scale * modes[:, :3]
        column = 3
    if "a" in config.vary:
        slope = positive(1 + modes[:, column] @ z)[1]
        amplitude = (neutral.amplitude * slope)[:, None] * modes[:, column]
    return displacement, amplitude


def start_of_neutral(subspace: Subspace) -> dict[str, Array]:
    """Return the adaptation that makes the subspace's mean change the neutral mixture."""
    mean = jnp.asarray(subspace.mean)
    zeros = jnp.zeros(len(mean))
    shift, amplitude = jnp.zeros((len(mean), 3)), zeros
    if "p" in subspace.kinds:
        shift = mean[:, :3] / NEUTRAL_MOVE
    if "a" in subspace.kinds:
        amplitude = jnp.log(jnp.maximum(1 + mean[:, -1], 0.1)) / NEUTRAL_FOLDS
    return {"position": shift, "amplitude": amplitude, "sigma": zeros}


def adapted(neutral: Gaussians, adaptation: dict[str, Array]) -> Gaussians:
    """Return a neutral mixture moved and scaled, its widths by a factor of e at most.

    The units set how fast it follows the images beside the modes: with units of a third the RMSD of a
    motion comes out 3 % larger, with 8/3 of them 2 % larger (docs/history.md).
    """
    width = jnp.clip(NEUTRAL_FOLDS * adaptation["sigma"], -1.0, 1.0)
    return Gaussians(
        neutral.position + NEUTRAL_MOVE * adaptation["position"],
        neutral.amplitude * jnp.exp(NEUTRAL_FOLDS * adaptation["amplitude"]),
        neutral.sigma * jnp.exp(width),
    )


def neighbouring_pairs(position: Float[np.ndarray, "points 3"]) -> Int[np.ndarray, "pairs 2"]:
    """Return each pair (i, j), i < j, in which one is among the other's twelve nearest."""
    count = min(NEIGHBOURS + 1, len(position))
    nearest = cKDTree(position).query(position, count)[1].reshape(len(position), -1)
    pairs = np.stack([np.repeat(np.arange(len(position)), count), nearest.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return pairs[pairs[:, 0] < pairs[:, 1]].astype(np.int32)


def strain(neutral: Gaussians, edges: Any, mixture: Gaussians) -> Float[Array, ""]:
    """Return the strain of an elastic network: mean over pairs of (change of distance)², Å².

    A piece that moves or turns as a whole costs nothing.

    Parameters
    ----------
    neutral, mixture : before and after the change.
    edges : (E, 2), from `neighbouring_pairs`.
    """
    first, second = jnp.asarray(edges).T
    before, after = (
        jnp.sqrt(jnp.sum((place[first] - place[second]) ** 2, axis=-1) + 1e-6)
        for place in (neutral.position, mixture.position)
    )
    return jnp.mean((after - before) ** 2)
