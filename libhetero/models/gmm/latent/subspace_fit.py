"""Finding a set's subspace: expectation maximisation on patches of Gaussians, coarse then fine.

1. The Gaussians are grouped into patches (k-means, coarse ones made of fine ones); all Gaussians of a
   patch change alike. For each particle of a sample the normal equations H, g are formed once.
2. On the coarse patches a full covariance C of the changes is fitted,

       c_i | X_i ~ N(S_i (g_i + C⁻¹ mean), S_i),  S_i = (H_i + C⁻¹)⁻¹;   C ← mean of S_i + (c_i - mean)²

3. Its eigenvalues tell how many directions stand out of the noise; these are refined on the fine
   patches as modes M of a low rank: with z_i as in `subspace`, (M, mean) solves the linear equations

       Σ_i H_i [M mean] E[(z,1)(z,1)ᵀ] + V⁻¹ [M mean] = Σ_i g_i E[(z,1)]ᵀ

   with V the variance that a number of M typically has: a patch too faint to be seen does not change.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float
from threadpoolctl import threadpool_limits

from libhetero.models.gmm.clusters import group_points
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.physics.quadrants import times_i, weights_in_quadrants
from libhetero.physics.rotations import HIGHEST
from libhetero.records import Batch, Observation, Pose

LOGGER = logging.getLogger(__name__)
FINE_COLUMNS = 192
COARSE_COLUMNS = 72
COARSE_STEPS = 30
FINE_STEPS = 6
TOGETHER = 8  # particles whose normal equations are formed at once
BLOCK = 64  # particles of a step of expectation maximisation, a thread each
MOST_MODES = 16
STANDS_OUT = 4.0
VARIANCE = {"p": 1.0, "a": 0.1}  # of a coarse patch to begin with, Å² and relative


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


def find_subspace(
    imaging: Imaging, sample: Batch, layout: Layout, rank: int = 0, seed: int = 0, mobile: np.ndarray | None = None
) -> Subspace:
    """Find mean and modes of a sample of particles.

    Parameters
    ----------
    imaging : neutral mixture, scale and weights.
    sample : particles; some thousand make small pieces visible.
    layout : what of a Gaussian may change: position, amplitude or both.
    rank : number of modes; 0 takes those that stand out of the noise, 2 to 16.
    seed : of k-means.
    mobile : (N,) bool, which Gaussians may change; None for all.

    Returns
    -------
    the subspace, its modes in falling order of variance; 0 for Gaussians that may not change.
    """
    mobile = np.ones(len(imaging.neutral.sigma), bool) if mobile is None else np.asarray(mobile)
    patches = make_patches(imaging, layout, seed, mobile)
    hessian, gradient = normal_equations(imaging, sample, patches.fine, layout)
    columns = len(layout.kinds)
    merge = _merging(patches.coarse, columns)
    coarse_hessian = np.concatenate([merge.T @ (block @ merge) for block, _ in _blocks(hessian, gradient)])
    start = np.repeat([VARIANCE[kind] for kind in layout.kinds], patches.coarse.max() + 1)
    covariance, mean = fit_covariance(coarse_hessian, gradient @ merge, np.diag(start), COARSE_STEPS)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    spectrum = values / np.median(values[len(values) // 8 : max(len(values) // 2, len(values) // 8 + 1)])
    found = int(np.sum(spectrum > STANDS_OUT))
    rank = min(rank or int(np.clip(found, 2, MOST_MODES)), len(values))
    LOGGER.info(
        "%d directions of change stand out of the noise in %d particles (variance over noise level: %s); "
        "the latent has %d",
        found,
        len(gradient),
        " ".join(f"{x:.3g}" for x in spectrum[: rank + 2]),
        rank,
    )
    modes = merge @ (vectors[:, :rank] * np.sqrt(np.maximum(values[:rank], 1e-12)))
    prior = _typical_variance(modes, layout)
    modes, mean = fit_modes(hessian, gradient, modes, merge @ mean, prior, FINE_STEPS)
    order = np.argsort(-np.sum(modes**2, axis=0))
    shape = (columns, -1)
    spread = modes[:, order].reshape(*shape, rank)[:, patches.fine].transpose(1, 0, 2)
    centre = mean.reshape(shape)[:, patches.fine].T
    spread, centre = spread * mobile[:, None, None], centre * mobile[:, None]
    return Subspace(layout, centre.astype(np.float32), spread.astype(np.float32))


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


def _merging(coarse: np.ndarray, columns: int) -> np.ndarray:
    """Return the (columns · fine, columns · coarse) matrix that copies a coarse patch's change."""
    return np.kron(np.eye(columns), np.eye(coarse.max() + 1)[coarse]).astype(np.float32)


def normal_equations(
    imaging: Imaging, sample: Batch, patch: np.ndarray, layout: Layout
) -> tuple[Float[np.ndarray, "particles columns columns"], Float[np.ndarray, "particles columns"]]:
    """Return H and g of every particle for changes of patches, columns ordered kind by kind."""
    several = jax.jit(jax.vmap(_equations(imaging, patch, layout)))
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


def _equations(imaging: Imaging, patch: np.ndarray, layout: Layout) -> Callable[..., tuple[Array, Array]]:
    """Return the function of one particle; Gaussians are laid out patch by patch, padded to equal number."""
    place, inside = _layout(patch)
    neutral = jax.tree.map(np.asarray, imaging.neutral)
    position, sigma = neutral.position[place.ravel()], neutral.sigma[place.ravel()]
    amplitude = neutral.amplitude[place] * inside
    still = jax.tree.map(lambda array: array[patch < 0], neutral)
    kx, ky = (weights_in_quadrants(frequency) for frequency in imaging.frequencies())
    count, side = len(place), imaging.grid + 2

    def unit(observation: Observation) -> tuple[Array, Array]:
        """Return what one unit of the complex shows, times i: changes in its own frame, and their sum.

        A displacement of 1 Å changes F by -2πi k F, times i 2πk F.
        """
        made = imaging.patches(position, sigma, amplitude, observation)
        whole = jnp.sum(made, axis=0)
        if len(still.sigma):
            whole = whole + imaging.patches(still.position, still.sigma, still.amplitude[None], observation)[0]
        parts = layout.chosen(position=[kx * made, ky * made], amplitude=[times_i(made)])
        return jnp.concatenate(parts).reshape(len(parts) * count, -1), times_i(whole)

    def turn(rotation: Array) -> Array:
        """Return the matrix from changes of patches to those of `unit`, where x and y are the image's."""
        same = jnp.eye(count)
        return jax.scipy.linalg.block_diag(*layout.chosen(position=[jnp.kron(rotation[:2], same)], amplitude=[same]))

    def one(image: Array, observation: Observation) -> tuple[Array, Array]:
        pose, target = observation.pose, times_i(imaging.target(image))
        if len(imaging.operators) == 1:
            flat, whole = unit(observation)
            hessian, gradient = _products(flat, target - whole)
            turned = turn(pose.rotation)
            hessian = jnp.matmul(turned.T, jnp.matmul(hessian, turned, precision=HIGHEST), precision=HIGHEST)
            return hessian, jnp.matmul(turned.T, gradient, precision=HIGHEST)

        def add(total: tuple[Array, Array], operator: Array) -> tuple[tuple[Array, Array], None]:
            rotation = jnp.matmul(pose.rotation, operator, precision=HIGHEST)
            flat, whole = unit(replace(observation, pose=Pose(rotation=rotation, shift=pose.shift)))
            flat = jnp.matmul(turn(rotation).T, flat, precision=HIGHEST)
            return (total[0] + flat, total[1] + whole), None

        columns = count * len(layout.kinds)
        start = jnp.zeros((columns, side**2)), jnp.zeros((side, side))
        (flat, whole), _ = jax.lax.scan(add, start, jnp.asarray(imaging.operators))
        return _products(flat, target - whole)

    return one


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


def fit_covariance(
    hessian: np.ndarray, gradient: np.ndarray, covariance: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return covariance and mean of the changes by expectation maximisation (the module's step 2).

    In float64, for H is ill-conditioned where images show much.
    """
    hessian, gradient = hessian.astype(np.float64), gradient.astype(np.float64)
    mean, one = np.zeros(gradient.shape[1]), np.eye(gradient.shape[1])

    def expect(precision: np.ndarray, mean: np.ndarray, hessian: np.ndarray, gradient: np.ndarray) -> tuple:
        """Return the sum of S and the expected changes of a block."""
        spread = _inverses(hessian + precision)
        slope = gradient - hessian @ mean
        return spread.sum(axis=0), mean + (spread @ slope[:, :, None])[:, :, 0]

    # NumPy on a thread a core: XLA's inverse is several times slower, and BLAS gains nothing by threads of its
    # own on matrices this small
    ill_conditioned = warnings.catch_warnings(action="ignore", category=scipy.linalg.LinAlgWarning)
    with ill_conditioned, threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in range(steps):
            precision = np.linalg.inv(covariance + 1e-6 * np.trace(covariance) / len(one) * one)
            now = partial(expect, precision, mean)
            spreads, expected = zip(*pool.map(now, *zip(*_blocks(hessian, gradient), strict=True)), strict=True)
            changes = np.concatenate(expected)
            mean = changes.mean(axis=0)
            covariance = np.cov(changes, rowvar=False, bias=True) + np.sum(spreads, axis=0) / len(changes)
    return covariance, mean


def _inverses(matrices: Float[np.ndarray, "count size size"]) -> Float[np.ndarray, "count size size"]:
    """Return the inverses of positive definite matrices; by LU where rounding has made one of them less.

    SciPy's inverse from Cholesky factors is as fast here as recursion by halves, and a fifth faster than LU.
    """
    try:
        return scipy.linalg.inv(matrices, assume_a="pos", check_finite=False)
    except np.linalg.LinAlgError:
        return np.linalg.inv(matrices)


def _typical_variance(modes: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the mean square of the modes, (columns · patches,), one value for each kind of change."""
    columns = np.array(list(layout.kinds))
    parts = modes.reshape(len(columns), -1)
    mean_square = [np.mean(parts[columns == kind] ** 2) for kind in columns]
    return np.repeat(mean_square, len(modes) // len(columns))


def fit_modes(
    hessian: np.ndarray, gradient: np.ndarray, modes: np.ndarray, mean: np.ndarray, prior: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return modes and mean of a low rank by expectation maximisation (the module's step 3).

    Parameters
    ----------
    hessian, gradient : H and g of every particle.
    modes, mean : to start from.
    prior : V, one variance for each row of the modes.
    steps : of expectation and maximisation.
    """
    size, rank = modes.shape

    one = np.eye(rank, dtype=np.float32)

    def expect(modes: np.ndarray, mean: np.ndarray, hessian: np.ndarray, gradient: np.ndarray) -> tuple:
        """Return Σ (z,1)(z,1)ᵀ ⊗ H, Σ (z,1) gᵀ and Σ (z,1)(z,1)ᵀ of a block, in expectation."""
        seen = hessian @ np.column_stack([modes, mean])
        spread = np.linalg.inv(modes.T @ seen[:, :, :rank] + one)
        slope = (gradient - seen[:, :, rank]) @ modes
        expected = (spread @ slope[:, :, None])[:, :, 0]
        joined = np.concatenate([expected, np.ones((len(expected), 1), np.float32)], axis=1)
        second = joined[:, :, None] * joined[:, None]
        second[:, :rank, :rank] += spread
        count = len(joined)
        left = second.reshape(count, -1).T @ hessian.reshape(count, -1)
        return left, joined.T @ gradient, second.sum(axis=0)

    for _ in range(steps):
        now = partial(expect, modes.astype(np.float32), mean.astype(np.float32))
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
            blocks = list(pool.map(now, *zip(*_blocks(hessian, gradient), strict=True)))
        left, right, second = (sum(part.astype(np.float64) for part in parts) for parts in zip(*blocks, strict=True))
        square = left.reshape(rank + 1, rank + 1, size, size).transpose(0, 2, 1, 3)
        square = square.reshape((rank + 1) * size, -1)
        square[np.diag_indices(len(square))] += np.tile(1 / np.maximum(prior, 1e-12), rank + 1)
        solved = np.linalg.solve(square, right.ravel()).reshape(rank + 1, size)
        second /= len(gradient)
        centre = second[:rank, rank]
        root = np.linalg.cholesky(second[:rank, :rank] - np.outer(centre, centre))
        modes, mean = solved[:rank].T @ root, solved[rank] + solved[:rank].T @ centre
    return modes, mean


def _blocks(hessian: np.ndarray, gradient: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(gradient), BLOCK):
        yield hessian[start : start + BLOCK], gradient[start : start + BLOCK]
