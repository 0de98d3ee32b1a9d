"""What a change of the decoder does to a Gaussian, and how changes are kept reasonable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import cKDTree

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.subspace import Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.models.gmm.turning import rotations_of, turned
from libhetero.physics.arrays import AnyArray
from libhetero.records import Gaussians

ROUNDING = 0.04  # of the hinge that keeps amplitudes above 0
NEUTRAL_MOVE, NEUTRAL_FOLDS = 6.0, 3.0  # Å, e-folds: one unit of the neutral mixture's adaptation
NEIGHBOURS = 12
GIVES_WAY = 1.0  # Å by which a pair's distance changes
REACH = 0.45  # of the distance between Gaussians: what comes and goes is averaged over


def positive(value: Float[AnyArray, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Return f(x) = (x + √(x² + ε)) / (1 + √(1 + ε)) and its derivative: above 0, and f(1) = 1."""
    root, scale = jnp.sqrt(value**2 + ROUNDING), 1 + (1 + ROUNDING) ** 0.5
    return (value + root) / scale, (1 + value / root) / scale


def parts_of(
    layout: Layout, change: Float[AnyArray, "points columns *modes"]
) -> tuple[Float[AnyArray, "points 3 *modes"], Float[AnyArray, "points *modes"], Float[AnyArray, "points *modes"]]:
    """Return the columns of position, amplitude and width; zeros for what does not change."""
    position, amplitude, width = (change[:, columns] for columns in layout.columns())

    def filled(part: Array | np.ndarray, count: int) -> Array | np.ndarray:
        return part if part.shape[1] else np.zeros((len(part), count, *part.shape[2:]), np.float32)

    return filled(position, 3), filled(amplitude, 1)[:, 0], filled(width, 1)[:, 0]


def changed(config: GmmConfig, neutral: Gaussians, change: Float[AnyArray, "points outputs"]) -> Gaussians:
    """Return the neutral mixture with a change applied.

    position + displacement_scale · d; amplitude · f(1 + a), f of `positive`; width · exp(½ tanh s).

    Parameters
    ----------
    change : columns d (3), a, s, those of the layout of `config.vary`.
    """
    position, amplitude, width = parts_of(config.layout, change)
    return Gaussians(
        neutral.position + config.displacement_scale * position,
        neutral.amplitude * positive(1 + amplitude)[0],
        neutral.sigma * jnp.exp(0.5 * jnp.tanh(width)),
    )


@dataclass(frozen=True, eq=False)
class Modes:
    """What of the change of the Gaussians a latent gives without a network.

    Parameters
    ----------
    config : of the model.
    neutral : the mixture that z = 0 gives.
    outputs : (N, F, r), for one unit of each number, in the decoder's columns and units.
    rotation : (N, 3, r), by which motions are continued (`turning`), radians; None where nothing turns.
    """

    config: GmmConfig
    neutral: Gaussians
    outputs: AnyArray
    rotation: AnyArray | None

    @classmethod
    def of(cls, config: GmmConfig, neutral: Gaussians, outputs: AnyArray, edges: AnyArray | None) -> Modes:
        """Find the rotations of modes.

        Parameters
        ----------
        edges : (E, 2), pairs of Gaussians next to each other; None for modes that are straight.
        """
        if edges is None or not config.layout.position:
            return cls(config, neutral, outputs, None)
        in_place = config.displacement_scale * outputs[:, :3]
        return cls(config, neutral, outputs, rotations_of(neutral.position, edges, in_place))

    def change(self, z: Float[Array, "latent"]) -> Float[Array, "points outputs"]:
        """Return the change at z in the decoder's columns and units."""
        if self.rotation is None:
            return jnp.matmul(self.outputs, z)
        return jnp.concatenate([turned(self.outputs[:, :3], self.rotation, z), self.outputs[:, 3:] @ z], axis=1)

    def tangents(
        self, z: Float[Array, "latent"]
    ) -> tuple[Float[AnyArray, "points 3 latent"], Float[Array, "points latent"]]:
        """Return what they change for a small step from z: position in Å, and amplitude."""
        position, amplitude, _ = parts_of(self.config.layout, self.outputs)
        rotation = self.rotation
        if rotation is not None:
            position = jax.jacfwd(lambda z: turned(self.outputs[:, :3], rotation, z))(z)
        slope = positive(1 + amplitude @ z)[1]
        return self.config.displacement_scale * position, (self.neutral.amplitude * slope)[:, None] * amplitude

    def mixture(self, z: Float[Array, "latent"]) -> Gaussians:
        """Return the mixture at z."""
        return changed(self.config, self.neutral, self.change(z))


def modes_in_outputs(config: GmmConfig, subspace: Subspace) -> Float[np.ndarray, "points outputs latent"]:
    """Return the modes of a subspace in the decoder's columns and units; widths stay as they are."""
    position, amplitude, width = parts_of(subspace.layout, subspace.modes)
    given = config.layout.chosen(
        position=[position / config.displacement_scale], amplitude=[amplitude[:, None]], width=[width[:, None]]
    )
    return np.concatenate(given, axis=1)


def start_of_neutral(subspace: Subspace) -> dict[str, Array]:
    """Return the adaptation that makes the subspace's mean change the neutral mixture."""
    position, amplitude, width = (jnp.asarray(part) for part in parts_of(subspace.layout, subspace.mean))
    return {
        "position": position / NEUTRAL_MOVE,
        "amplitude": jnp.log(jnp.maximum(1 + amplitude, 0.1)) / NEUTRAL_FOLDS,
        "sigma": width,
    }


def adapted(neutral: Gaussians, adaptation: dict[str, AnyArray]) -> Gaussians:
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


def nearest_pairs(position: Float[np.ndarray, "points 3"]) -> Int[np.ndarray, "pairs 2"]:
    """Return each Gaussian with each of its twelve nearest; a pair that is so both ways is there twice."""
    count = min(NEIGHBOURS, len(position) - 1)
    nearest = cKDTree(position).query(position, count + 1)[1].reshape(len(position), -1)
    itself = nearest == np.arange(len(position))[:, None]  # not the first where several are in one place
    others = np.take_along_axis(nearest, np.argsort(itself, axis=1, kind="stable"), axis=1)[:, :count]
    return np.stack([np.repeat(np.arange(len(position)), count), others.ravel()], axis=1).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Means of changes of amplitude over what images do not tell apart.

        ā_j = Σ_i m_i exp(-|x_i - x_j|² / 2 l²) a_i / Σ_i m_i exp(-|x_i - x_j|² / 2 l²),     i: j and its nearest

    m is a Gaussian's amplitude, x its place, and l = `REACH` times the distance to the nearest Gaussian, in the median.
    Gaussians share the detail of their map: of two that are next to each other images tell what both hold together, and
    what the changes of one differ from the other's by is mostly noise, the more so the weaker it is.

    Parameters
    ----------
    near : (N, K), of each Gaussian its nearest.
    share : (N, K + 1), of itself and of these in its mean; the sum is 1.
    """

    near: Int[np.ndarray, "points near"]
    share: Float[np.ndarray, "points shares"]

    @classmethod
    def of(cls, neutral: Gaussians, edges: Int[np.ndarray, "pairs 2"]) -> Neighbourhood:
        """Find the shares.

        Parameters
        ----------
        neutral : the mixture, Å.
        edges : from `nearest_pairs`.
        """
        position, mass = (np.asarray(array, np.float64) for array in (neutral.position, neutral.amplitude))
        count = len(mass)
        near = np.asarray(edges)[:, 1].reshape(count, -1)
        square = np.sum((position[near] - position[:, None]) ** 2, axis=-1)
        nearest = np.median(np.sqrt(square.min(axis=1, initial=np.inf)))
        width = max((REACH * float(nearest)) ** 2, 1e-12)
        mass = np.maximum(mass, 1e-3 * np.mean(np.abs(mass)) + 1e-30)
        share = np.concatenate([mass[:, None], mass[near] * np.exp(-square / (2 * width))], axis=1)
        return cls(near, (share / share.sum(axis=1, keepdims=True)).astype(np.float32))

    def mean(self, change: Float[AnyArray, "points *columns"]) -> Float[Array, "points *columns"]:
        """Return the means of changes."""
        others = jnp.einsum("nk,nk...->n...", self.share[:, 1:], jnp.asarray(change)[self.near])
        return jnp.einsum("n,n...->n...", self.share[:, 0], change) + others


def strain(neutral: Gaussians, edges: Any, mixture: Gaussians) -> Float[Array, ""]:
    """Return the strain of an elastic network whose bonds give way: mean over pairs of δ² / (1 + δ² / c²), Å².

    δ is the change of a pair's distance and c = `GIVES_WAY`. A piece that moves or turns as a whole costs nothing, and
    where it parts from what stays, at hinges and where pieces only touch, no more than c² a pair, however far it goes:
    quadratic springs there held motions of many Å back. The function is Geman and McClure's.

    Parameters
    ----------
    neutral, mixture : before and after the change.
    edges : (E, 2), from `nearest_pairs`.
    """
    first, second = jnp.asarray(edges).T
    before, after = (
        jnp.sqrt(jnp.sum((place[first] - place[second]) ** 2, axis=-1) + 1e-6)
        for place in (neutral.position, mixture.position)
    )
    square = (after - before) ** 2
    return jnp.mean(square / (1 + square / GIVES_WAY**2))
