"""Fewer Gaussians in the place of many, which show the same on low rings, and what is found on them said of all.

Modes of motion are smooth, and the rings that settle them (`motions`) are far coarser than a large mixture. Gaussians
are therefore grouped by place, and each group k becomes one,

    A_k = Σ_j A_j,   x_k = Σ_j |A_j| x_j / Σ_j |A_j|,   σ_k² = Σ_j |A_j| (σ_j² + |x_j - x_k|² / 3) / Σ_j |A_j|

of which positions, amplitudes and widths then follow the large mixture's own transform F by gradient descent,

    Σ_k w(s) |F(k) - G(k)|² / Σ_k w(s) |F(k)|²,   w(s) = (mean weight of ring s) / s,

which is the misfit of all projections, as the particles weigh it. What is found on the fewer is given back by the
nearest of them, with the weights w_jk of a Gaussian of half their distance: changes of amplitude and of width as they
are, and a displacement d_k with the rotation ω_k that its neighbours show (`turning.rotations_of`),

    d_j = Σ_k w_jk [d_k + ω_k × (x_j - x_k)],

which is exact for a piece that moves or turns as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from libhetero.models.gmm.changes import nearest_pairs
from libhetero.models.gmm.clusters import group_points
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.turning import rotations_of
from libhetero.physics.fourier import hermitian_weight, ring_index
from libhetero.physics.gaussians import transform_octants
from libhetero.records import Gaussians

STEPS = 150  # of Adam
MOVE, FOLD = 0.3, 0.05  # Å, e-folds: its rates at first, for positions, and for amplitudes and widths
FARTHEST, MOST_FOLDS = 0.5, 0.7  # how far a position may go, of the distance between them, and a width, e-folds
NEAREST = 4  # of the fewer, which say how a Gaussian changes
REACH = 0.5  # of the distance between them: the width of their weights


@dataclass(frozen=True, eq=False)
class Coarser:
    """A mixture of fewer Gaussians, and which of all stand behind each.

    Parameters
    ----------
    imaging : of the set, its neutral mixture that of all N Gaussians.
    coarse : the K fewer.
    group : (N,), which of the fewer each Gaussian is part of.
    mobile : (N,) bool, which Gaussians may change; a group is of such alone, or of others alone.
    """

    imaging: Imaging
    coarse: Gaussians
    group: np.ndarray
    mobile: np.ndarray

    @classmethod
    def of(cls, imaging: Imaging, mobile: Bool[np.ndarray, "points"], count: int, seed: int) -> Coarser:
        """Group the neutral mixture, and fit the fewer to what it shows on the grid.

        Parameters
        ----------
        imaging : its neutral mixture that of all.
        mobile : (N,), which Gaussians may change.
        count : how many there shall be, about.
        seed : of k-means.
        """
        fine = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), imaging.neutral)
        group = _grouped(fine.position, mobile, count, seed)
        return cls(imaging, fitted(imaging, merged(fine, group)), group, mobile)

    @property
    def coarse_imaging(self) -> Imaging:
        """How the fewer become images."""
        return replace(self.imaging, neutral=self.coarse)

    @property
    def coarse_mobile(self) -> Bool[np.ndarray, "fewer"]:
        """Which of the fewer may change."""
        return np.bincount(self.group, self.mobile) > 0

    def gathered(self, subspace: Subspace) -> Subspace:
        """Return a subspace of all Gaussians as one of the fewer: means over each group, weighted by amplitude."""
        weight = _weights(self.imaging.neutral.amplitude)
        whole = np.bincount(self.group, weight)

        def mean(values: np.ndarray) -> np.ndarray:
            sums = np.zeros((len(whole), *values.shape[1:]))
            np.add.at(sums, self.group, values * weight.reshape(-1, *(1,) * (values.ndim - 1)))
            return (sums / whole.reshape(-1, *(1,) * (values.ndim - 1))).astype(np.float32)

        return replace(subspace, mean=mean(subspace.mean), modes=mean(subspace.modes))

    def spread(self, neutral: Gaussians, subspace: Subspace) -> tuple[Gaussians, Subspace]:
        """Return the neutral mixture of all and their subspace, as found on the fewer; no mean change is left.

        Parameters
        ----------
        neutral : what became of the fewer.
        subspace : about it.
        """
        fine, coarse = self.imaging.neutral, self.coarse
        settled = jax.tree.map(np.asarray, neutral)
        given = _Given.of(fine.position, coarse.position, self.mobile, self.coarse_mobile)
        moved = given.displacement((settled.position - coarse.position)[:, :, None])[:, :, 0]
        amplitude = given.mean(_log_ratio(settled.amplitude, coarse.amplitude))
        width = given.mean(_log_ratio(settled.sigma, coarse.sigma))
        all_settled = Gaussians(
            (fine.position + moved).astype(np.float32),
            (fine.amplitude * np.exp(amplitude)).astype(np.float32),
            (fine.sigma * np.exp(width)).astype(np.float32),
        )
        about = replace(given, fine=all_settled.position, coarse=settled.position)
        modes = given.mean(subspace.modes)
        position = subspace.layout.columns()[0]
        if subspace.layout.position and subspace.rank:
            modes[:, position] = about.displacement(subspace.modes[:, position])
        mean = np.zeros((len(fine.sigma), subspace.mean.shape[1]), np.float32)
        return all_settled, replace(subspace, mean=mean, modes=modes.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Given:
    """What the nearest of the fewer say of each Gaussian.

    Parameters
    ----------
    fine, coarse : (N, 3) and (K, 3), places, Å.
    own : which of the fewer may change; turns are those among these.
    nearest : (N, n), which of them.
    weight : (N, n), of each; 0 for a Gaussian that may not change.
    """

    fine: np.ndarray
    coarse: np.ndarray
    own: np.ndarray
    nearest: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, fine: np.ndarray, coarse: np.ndarray, mobile: np.ndarray, coarse_mobile: np.ndarray) -> _Given:
        own = np.flatnonzero(coarse_mobile)
        tree, count = cKDTree(coarse[own]), min(NEAREST, len(own))
        distance, place = (one.reshape(len(fine), count) for one in tree.query(fine, count))
        closer = distance**2 - distance[:, :1] ** 2  # so that one weight is 1, however far all are
        weight = np.exp(-closer / (2 * (REACH * _distance_between(coarse[own])) ** 2))
        weight = weight / weight.sum(axis=1, keepdims=True) * mobile[:, None]
        return cls(fine, coarse, own, own[place], weight)

    def mean(self, values: Float[np.ndarray, "fewer *rest"]) -> Float[np.ndarray, "points *rest"]:
        """Return weighted means of values of the fewer."""
        return np.einsum("jn,jn...->j...", self.weight, values[self.nearest])

    def displacement(self, modes: Float[np.ndarray, "fewer 3 modes"]) -> Float[np.ndarray, "points 3 modes"]:
        """Return displacements as each of the nearest would have them, turning as its own neighbours do."""
        rotation, own = np.zeros(modes.shape, np.float32), self.own
        if len(own) > 1:
            rotation[own] = rotations_of(self.coarse[own], nearest_pairs(self.coarse[own]), modes[own])
        across = self.fine[:, None] - self.coarse[self.nearest]
        turned = np.cross(rotation[self.nearest], across[..., None], axis=2)
        return np.einsum("jn,jnar->jar", self.weight, modes[self.nearest] + turned)


def merged(fine: Gaussians, group: Int[np.ndarray, "points"]) -> Gaussians:
    """Return one Gaussian for each group, with its sum, centre and mean extent: the module's first equation."""
    weight = _weights(fine.amplitude)
    whole = np.bincount(group, weight)
    sums = [np.bincount(group, weight * fine.position[:, axis]) for axis in range(3)]
    centre = np.stack(sums, axis=1) / whole[:, None]
    spread = np.sum((fine.position - centre[group]) ** 2, axis=1) / 3
    square = np.bincount(group, weight * (np.asarray(fine.sigma, np.float64) ** 2 + spread)) / whole
    amplitude = np.bincount(group, np.asarray(fine.amplitude, np.float64))
    return Gaussians(*(one.astype(np.float32) for one in (centre, amplitude, np.sqrt(square))))


def fitted(imaging: Imaging, start: Gaussians, steps: int = STEPS) -> Gaussians:
    """Return fewer Gaussians that show what the neutral mixture of `imaging` does on its grid.

    Parameters
    ----------
    imaging : its neutral mixture the one to follow, one unit of the complex.
    start : near it.
    steps : of Adam.
    """
    octants = partial(transform_octants, n=imaging.grid, pixel_size=imaging.grid_pixel_size)
    goal = jax.jit(octants)(jax.tree.map(jnp.asarray, imaging.neutral))
    weight = jnp.asarray(_octant_weights(imaging.root_weight))
    weight = weight / jnp.sum(weight * goal**2)
    optimiser = optax.adam(optax.cosine_decay_schedule(1.0, max(steps, 1), 0.02), b2=0.99)

    reach = FARTHEST * _distance_between(start.position)

    def mixture(raw: Gaussians) -> Gaussians:
        return Gaussians(
            start.position + reach * jnp.tanh(MOVE * raw.position / reach),
            start.amplitude * jnp.exp(FOLD * raw.amplitude),
            start.sigma * jnp.exp(MOST_FOLDS * jnp.tanh(FOLD * raw.sigma / MOST_FOLDS)),
        )

    @jax.jit
    def step(raw: Gaussians, state: optax.OptState) -> tuple[Gaussians, optax.OptState]:
        slopes = jax.grad(lambda raw: jnp.sum(weight * (octants(mixture(raw)) - goal) ** 2))(raw)
        updates, state = optimiser.update(slopes, state)
        return optax.apply_updates(raw, updates), state

    raw: Gaussians = jax.tree.map(jnp.zeros_like, start)
    state = optimiser.init(raw)
    for _ in range(steps):
        raw, state = step(raw, state)
    return jax.tree.map(np.asarray, mixture(raw))


def _octant_weights(root_weight: Float[np.ndarray, "m half"]) -> Float[np.ndarray, "half 1 2 2 half half"]:
    """Return w(s) at the voxels of `transform_octants`, each voxel of the whole transform once."""
    m = len(root_weight)
    half, signs, ring = np.arange(m // 2 + 1), np.array([1, -1]), ring_index(m).ravel()
    square = np.asarray(root_weight, np.float64).ravel() ** 2
    of_ring = np.bincount(ring, square) / np.maximum(np.bincount(ring), 1)
    of_ring = of_ring / np.maximum(np.arange(len(of_ring)), 1)
    of_ring[0], of_ring[m // 2 :] = 0, 0
    z, sign_z, sign_y, y, x = np.ix_(half, signs, signs, half, half)
    shell = np.rint(np.sqrt(z**2 + y**2 + x**2) + 0 * sign_z * sign_y).astype(int)
    twice = ((sign_z < 0) & (z == 0)) | ((sign_y < 0) & (y == 0))
    weight = np.where((shell < m // 2) & ~twice, of_ring[np.minimum(shell, m // 2)], 0) * hermitian_weight(m)
    return weight[:, None].astype(np.float32)


def _grouped(
    position: Float[np.ndarray, "points 3"], mobile: Bool[np.ndarray, "points"], count: int, seed: int
) -> Int[np.ndarray, "points"]:
    """Return groups by place, of those that may change and of the others by themselves, as many as is their share."""
    group, first = np.zeros(len(mobile), np.int64), 0
    for own in (np.flatnonzero(mobile), np.flatnonzero(~mobile)):
        if len(own):
            many = min(max(round(count * len(own) / len(mobile)), 1), len(own))
            label = group_points(np.asarray(position, np.float64)[own], many, seed)[1]
            group[own] = first + np.unique(label, return_inverse=True)[1]
            first = group.max() + 1
    return group


def _weights(amplitude: Float[np.ndarray, "points"]) -> Float[np.ndarray, "points"]:
    """Return |A|, a little above 0."""
    size = np.abs(np.asarray(amplitude, np.float64))
    return np.maximum(size, 1e-6 * max(size.max(), 1e-30))


def _distance_between(position: Float[np.ndarray, "points 3"]) -> float:
    """Return the mean distance of a Gaussian from its nearest, Å, a little above 0."""
    nearest = cKDTree(position).query(position, min(2, len(position)))[0].reshape(len(position), -1)
    return max(float(np.mean(nearest[:, -1])), 1e-3)


def _log_ratio(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return log (now / before), both of one sign; 0 where there is nothing."""
    there = (before != 0) & (now != 0)
    return np.log(np.where(there, np.abs(now) / np.where(there, np.abs(before), 1), 1))
