"""Classes of particles in a subspace of volumes, and how well they explain the images.

A particle of class k has the volume mean + U m_k, at a contrast α ~ N(1, s²) of its own, m_k ~ N(0, 1). With the sums
G = Σ α_i g_i and H = Σ α_i² H_i over the particles of a class (`normal_equations`), A = H₁₁ + 1 and b = G₁ - H₁₀ (0 the
mean, 1 the modes),

    m = A⁻¹ b,   cov m = A⁻¹,   log p(class) = ½ bᵀ A⁻¹ b - ½ log |A| + G₀ - ½ H₀₀

is the evidence for one class, its volume integrated over, against noise alone. Of a particle i in class k, with
v = (1, m_k), l = gᵀ v and q = vᵀ H v + tr(H₁₁ cov m_k),

    log p(x | k) = ½ (l + 1/s²)² / (q + 1/s²) - ½ / s² - ½ log (1 + s² q),      α = (l + 1/s²) / (q + 1/s²)

Particles go to the class of highest probability, and classes follow them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.models.blocks import over_blocks, summed_over_blocks
from libhetero.models.hype.latent.grid import few_sizes
from libhetero.models.hype.latent.normal_equations import Equations, packed, symmetric
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST

BLOCK = 1024  # particles judged at once
SETTLED = 1e-3  # part of the particles that may still change their class
LEAST_SPREAD = 1e-2  # of contrast
EMPTY = -1e30  # log probability of a class that is none
EQUAL = 1e-5  # part by which sums of one molecule's probabilities may differ


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums of normal equations over the particles of each class.

    Parameters
    ----------
    gradient, hessian : Σ α g and Σ α² H, whole matrices.
    count : particles.
    """

    gradient: Float[np.ndarray, "classes columns"]
    hessian: Float[np.ndarray, "classes columns columns"]
    count: Float[np.ndarray, "classes"]

    def joined(self, first: Int[np.ndarray, "pairs"], second: Int[np.ndarray, "pairs"]) -> ClassSums:
        """Return the sums of classes joined in pairs."""
        return ClassSums(*(part[first] + part[second] for part in (self.gradient, self.hessian, self.count)))


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes in a subspace.

    Parameters
    ----------
    mean : m_k.
    covariance : of m_k.
    share : part of the particles.
    evidence : log p of the particles of each.
    """

    mean: Float[np.ndarray, "classes rank"]
    covariance: Float[np.ndarray, "classes rank rank"]
    share: Float[np.ndarray, "classes"]
    evidence: Float[np.ndarray, "classes"]

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, eq=False)
class Judged:
    """Particles against classes.

    Parameters
    ----------
    label : the most probable class.
    probability : of it, among the classes.
    contrast : α, posterior mean in that class.
    square : E[α²].
    evidence : log p(x | classes) - log p(x | noise alone).
    part : the class, where `label` says the molecule that it is of; None where `label` is the class.
    """

    label: Int[np.ndarray, "particles"]
    probability: Float[np.ndarray, "particles"]
    contrast: Float[np.ndarray, "particles"]
    square: Float[np.ndarray, "particles"]
    evidence: Float[np.ndarray, "particles"]
    part: Int[np.ndarray, "particles"] | None = None

    @property
    def spread(self) -> float:
        """s, the standard deviation of contrast that the particles say which show a class at all."""
        off = (self.square - 2 * self.contrast + 1)[self.evidence > 0]
        return float(np.sqrt(max(off.mean(), LEAST_SPREAD**2))) if len(off) else LEAST_SPREAD


def posterior(sums: ClassSums) -> Classes:
    """Return the classes of sums."""
    rank = sums.gradient.shape[1] - 1
    linear = sums.gradient[:, 1:] - sums.hessian[:, 0, 1:]
    factor = np.linalg.cholesky(sums.hessian[:, 1:, 1:] + np.eye(rank))
    inverse = np.linalg.solve(factor, np.broadcast_to(np.eye(rank), factor.shape))
    covariance = inverse.swapaxes(1, 2) @ inverse
    mean = (covariance @ linear[:, :, None])[:, :, 0]
    determinant = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    evidence = 0.5 * ((linear * mean).sum(axis=1) - determinant - sums.hessian[:, 0, 0]) + sums.gradient[:, 0]
    return Classes(mean, covariance, sums.count / max(sums.count.sum(), 1), evidence)


def class_sums(equations: Equations, label: Int[np.ndarray, "particles"], judged: Judged | None = None) -> ClassSums:
    """Return the sums of each class 0 … of the labels.

    Parameters
    ----------
    equations : of the particles.
    label : class of each, -1 for none.
    judged : their contrasts; None for 1.
    """
    classes = int(label.max(initial=-1)) + 1
    padded = few_sizes(classes)
    ones = np.ones(len(label), np.float32)
    first, second = (ones, ones) if judged is None else (judged.contrast, judged.square)
    rows = equations.gradient, equations.hessian, np.where(label < 0, padded, label), first, second
    gradient, hessian = summed_over_blocks(_summed, rows, (), BLOCK, classes=padded)
    return ClassSums(
        gradient[:classes],
        symmetric(hessian[:classes], equations.columns, equations.upper),
        np.bincount(label[label >= 0], minlength=classes).astype(np.float64),
    )


@partial(jax.jit, static_argnames="classes")
def _summed(
    gradient: Array, hessian: Array, label: Array, first: Array, second: Array, classes: int
) -> tuple[Array, Array]:
    total = partial(jax.ops.segment_sum, segment_ids=label, num_segments=classes)
    return total(gradient * first[:, None]), total(hessian * second[:, None])


def judge(
    equations: Equations, classes: Classes, spread: float, molecule: Int[np.ndarray, "classes"] | None = None
) -> Judged:
    """Return the most probable class of each particle.

    Parameters
    ----------
    equations : of the particles.
    classes : of the subspace.
    spread : s; 0 for contrasts of 1.
    molecule : that each class is of: the class is then the most probable of the molecule whose classes together are the
        most probable, and the probability theirs together; None for each of its own.
    """
    told = judged_against(classes, few_sizes(len(classes)))
    own = None
    if molecule is not None:
        own = np.arange(len(told.share))
        own[: len(classes)] = molecule
    shared = told.vectors, told.squares, told.share, np.float32(max(spread, LEAST_SPREAD)), own
    return Judged(*over_blocks(_judged, (equations.gradient, equations.hessian), shared, BLOCK))


@dataclass(frozen=True, eq=False)
class Against:
    """Classes as particles' normal equations meet them.

    Parameters
    ----------
    vectors : v.
    squares : v vᵀ + cov m, packed.
    share : log of each class's part of the particles.
    """

    vectors: Float[np.ndarray, "columns classes"]
    squares: Float[np.ndarray, "pairs classes"]
    share: Float[np.ndarray, "classes"]


def judged_against(classes: Classes, padded: int = 0) -> Against:
    """Return what particles are judged against.

    Parameters
    ----------
    classes : of the subspace.
    padded : number of classes with those that are none; 0 for no more than there are.
    """
    missing = ((0, max(padded - len(classes), 0)), (0, 0))
    whole = np.concatenate([np.ones((len(classes), 1)), classes.mean], axis=1)
    product = whole[:, :, None] * whole[:, None]
    product[:, 1:, 1:] += classes.covariance
    share = np.log(np.maximum(classes.share, 1e-30))
    return Against(
        np.pad(whole, missing).T.astype(np.float32),
        np.pad(packed(product), missing).T.astype(np.float32),
        np.pad(share, missing[0], constant_values=EMPTY).astype(np.float32),
    )


def integrated_likelihood(linear: Any, square: Any, spread: Any, module: Any) -> Any:
    """Return log p(x | volume) - log p(x | noise alone), the contrast α ~ N(1, s²) integrated over.

    It is that of the module's equations, without the difference of large numbers that s → 0 makes of them.

    Parameters
    ----------
    linear, square : l and q.
    spread : s.
    module : numpy or jax.numpy, of the arrays.
    """
    variance = spread**2
    along = (linear - 0.5 * square + 0.5 * variance * linear**2) / (1 + variance * square)
    return along - 0.5 * module.log1p(variance * square)


def joint_likelihood(
    gradient: AnyArray, hessian: AnyArray, vectors: AnyArray, squares: AnyArray, share: AnyArray, spread: Any
) -> Float[Array, "particles classes"]:
    """Return log p(x, class) - log p(x | noise alone) of particles and classes; arguments as in `Against`."""
    return _joint(*_products(gradient, hessian, vectors, squares), share, spread)


def _products(gradient: AnyArray, hessian: AnyArray, vectors: AnyArray, squares: AnyArray) -> tuple[Array, Array]:
    """Return l and q."""
    linear = jnp.matmul(gradient, vectors, precision=HIGHEST)
    return linear, jnp.maximum(jnp.matmul(hessian, squares, precision=HIGHEST), 0)


def _joint(linear: Array, square: Array, share: AnyArray, spread: Any) -> Array:
    joint: Array = integrated_likelihood(linear, square, spread, jnp) + share
    return joint


@jax.jit
def _judged(
    gradient: Array, hessian: Array, vectors: Array, squares: Array, share: Array, spread: Array, molecule: Array | None
) -> tuple[Array, ...]:
    linear, square = _products(gradient, hessian, vectors, squares)
    joint = _joint(linear, square, share, spread)
    total = jax.nn.logsumexp(joint, axis=1)
    together = jnp.exp(joint - total[:, None])
    if molecule is not None:
        same = (molecule[:, None] == molecule).astype(together.dtype)
        together = jnp.matmul(together, same, precision=HIGHEST)
    best = together >= together.max(axis=1, keepdims=True) * (1 - EQUAL)
    label = jnp.argmax(jnp.where(best, joint, -jnp.inf), axis=1)
    probability = jnp.minimum(jnp.take_along_axis(together, label[:, None], axis=1)[:, 0], 1)
    one = partial(jnp.take_along_axis, indices=label[:, None], axis=1)
    variance = 1 / (one(square)[:, 0] + spread**-2)
    contrast = (one(linear)[:, 0] + spread**-2) * variance
    return label.astype(jnp.int32), probability, contrast, contrast**2 + variance, total


def settled(
    equations: Equations, label: Int[np.ndarray, "particles"], steps: int, spread: float
) -> tuple[Classes, Judged]:
    """Return classes and particles after steps in which each follows the other, classes without particles gone.

    Parameters
    ----------
    equations : of the particles.
    label : class of each to begin with.
    steps : at most; ends where hardly a particle changes its class.
    spread : of contrast, to begin with.
    """
    classes = posterior(class_sums(equations, label))
    judged = judge(equations, classes, spread)
    for _ in range(steps - 1):
        changed = np.mean(judged.label != label)
        label, spread = judged.label, judged.spread
        if changed < SETTLED:
            break
        classes = posterior(class_sums(equations, label, judged))
        judged = judge(equations, classes, spread)
    while len(used := np.unique(judged.label)) < len(classes):
        classes = posterior(class_sums(equations, np.searchsorted(used, judged.label), judged))
        judged = judge(equations, classes, spread)
    return classes, judged
