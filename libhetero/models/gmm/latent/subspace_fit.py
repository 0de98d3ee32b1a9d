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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import scipy.linalg
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from libhetero.models.gmm.latent.normal_equations import make_patches, normal_equations
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.records import Batch

LOGGER = logging.getLogger(__name__)
COARSE_STEPS = 30
FINE_STEPS = 6
BLOCK = 64  # particles of a step of expectation maximisation, a thread each
MOST_MODES = 16
STANDS_OUT = 4.0
VARIANCE = {"p": 1.0, "a": 0.1}  # of a coarse patch to begin with, Å² and relative


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


def _merging(coarse: np.ndarray, columns: int) -> np.ndarray:
    """Return the (columns · fine, columns · coarse) matrix that copies a coarse patch's change."""
    return np.kron(np.eye(columns), np.eye(coarse.max() + 1)[coarse]).astype(np.float32)


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
    # own on matrices this small. Warnings are filtered around the threads: filters are of the whole process.
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
