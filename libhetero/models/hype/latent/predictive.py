"""How well the other images of a class predict an image, the volume of the class integrated over.

A volume is drawn from the signal's power t, by shell, at each point p of the grid, V_p ~ CN(0, t_p), and seen by the
images x = α τ V + noise of class k, of contrast α. With N = Σ α τ x and D = Σ α² τ² over them, and a = D + 1/t,

    V_p | images ~ CN(N / a, 1 / a)
    log p(images | one class) - log p(images | noise alone) = Σ_p |N|² / a - log (a t)                    the evidence

and of a further image, with τ² / a the part of its variance, at α = 1, that comes from the volume not being known,

    log p(x | images of k) - log p(x | noise alone) = Σ |x|² - |x - α τ N / a|² / (1 + τ² / a) - log (1 + τ² / a)

over its pixels, each of which takes the value of the nearest point, no two of them the same; α ~ N(1, s²) is integrated
over (`classes`). An image of class k is taken out of N, D and the number of its images first: no image speaks for
itself, which would bind it to its class wherever classes are small. No subspace is needed, and every class is as sure
of its volume as its images make it.

References
----------
Neal, J. Comput. Graph. Stat. 9 (2000) 249: mixtures whose components are integrated over (his algorithm 3).
Scheres et al., Nat. Methods 4 (2007) 27: classes of projections by likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.models.blocks import over_blocks
from libhetero.models.hype.latent.classes import EMPTY, integrated_likelihood
from libhetero.models.hype.latent.grid import OnGrid

TOGETHER = 2  # factors whose product, of single precision, has one logarithm
BLOCK = 512  # images at once
PAIRS = 128  # classes whose evidence is computed at once


@dataclass(frozen=True, eq=False)
class ClassTables:
    """Sums over the images of classes, points first: an image reads whole rows.

    Parameters
    ----------
    numerator : real and imaginary parts of N.
    weight : D.
    inverse : 1 / t.
    """

    numerator: Float[Array, "points classes 2"]
    weight: Float[Array, "points classes"]
    inverse: Float[Array, "points"]

    def __len__(self) -> int:
        return self.weight.shape[1]

    def evidence(self) -> Float[np.ndarray, "classes"]:
        """Return that of each class, nats."""
        every = np.arange(len(self))
        return self._of(every, None)

    def joined_evidence(
        self, first: Int[np.ndarray, "pairs"], second: Int[np.ndarray, "pairs"]
    ) -> Float[np.ndarray, "pairs"]:
        """Return that of two classes as one, nats."""
        return self._of(first, second)

    def _of(self, first: np.ndarray, second: np.ndarray | None) -> np.ndarray:
        found = np.zeros(-(-len(first) // PAIRS) * PAIRS)
        for start in range(0, len(first), PAIRS):
            rows = slice(start, start + PAIRS)
            one = _padded(first[rows], PAIRS)
            other = None if second is None else _padded(second[rows], PAIRS)
            found[rows] = np.asarray(_evidence(self.numerator, self.weight, self.inverse, one, other))
        return found[: len(first)]


def class_tables(
    seen: OnGrid,
    label: Int[np.ndarray, "particles"],
    classes: int,
    inverse: Float[np.ndarray, "points"],
    contrast: Float[np.ndarray, "particles"],
) -> ClassTables:
    """Return the sums of classes.

    Parameters
    ----------
    seen : slices.
    label : class of each, -1 for none.
    classes : how many.
    inverse : 1 / t at each point.
    contrast : α of each.
    """
    column = jnp.asarray(np.where(label < 0, classes, label))
    parts = seen.point, seen.image, seen.transfer, column, jnp.asarray(contrast, jnp.float32)
    numerator, weight = _tables(*parts, classes, seen.grid.size)
    return ClassTables(numerator, weight, jnp.asarray(inverse))


@partial(jax.jit, static_argnums=(5, 6))
def _tables(
    point: Array, image: Array, transfer: Array, label: Array, contrast: Array, classes: int, size: int
) -> tuple[Array, Array]:
    passed = transfer * contrast[:, None]
    at, summed = (point, label[:, None]), passed * image
    parts = jnp.stack([summed.real, summed.imag], axis=-1)
    return (
        jnp.zeros((size, classes, 2)).at[at].add(parts, mode="drop"),
        jnp.zeros((size, classes)).at[at].add(passed**2, mode="drop"),
    )


@jax.jit
def _evidence(numerator: Array, weight: Array, inverse: Array, first: Array, second: Array | None) -> Array:
    n, d = numerator[:, first], weight[:, first]
    if second is not None:
        n, d = n + numerator[:, second], d + weight[:, second]
    full = d + inverse[:, None]
    found: Array = jnp.sum((n**2).sum(axis=-1) / full - jnp.log(full / inverse[:, None]), axis=0)
    return found


@dataclass(frozen=True, eq=False)
class Predicted:
    """Images against some classes each.

    Parameters
    ----------
    candidate : the classes, the likeliest first.
    joint : log p(x | other images of the class) + log part of them in it, nats, against noise alone.
    contrast : α in the likeliest class, posterior mean.
    square : E[α²].
    """

    candidate: Int[np.ndarray, "particles candidates"]
    joint: Float[np.ndarray, "particles candidates"]
    contrast: Float[np.ndarray, "particles"]
    square: Float[np.ndarray, "particles"]

    @property
    def label(self) -> Int[np.ndarray, "particles"]:
        """The likeliest class of each."""
        return self.candidate[:, 0]


@dataclass(frozen=True, eq=False)
class Sorted:
    """Images in classes, as they are when likelihoods are asked for.

    Parameters
    ----------
    label, contrast : of each image.
    spread : s.
    """

    label: Int[np.ndarray, "particles"]
    contrast: Float[np.ndarray, "particles"]
    spread: float

    def shares(self, classes: int) -> Float[np.ndarray, "classes"]:
        """Return the logarithm of the part of the images in each class; a class without images takes none."""
        count = np.bincount(self.label, minlength=classes)
        return np.where(count > 0, np.log(np.maximum(count, 1) / len(self.label)), EMPTY).astype(np.float32)

    def own_shares(self) -> Float[np.ndarray, "particles"]:
        """Return the logarithm of the part of the other images in the class of each, of half an image for none."""
        count = np.bincount(self.label)[self.label] - 1
        return np.log(np.maximum(count, 0.5) / len(self.label)).astype(np.float32)


def against_all(seen: OnGrid, tables: ClassTables, now: Sorted, candidates: int) -> Predicted:
    """Return the likeliest classes of each image, among all.

    Parameters
    ----------
    seen : slices.
    tables : of all their classes.
    now : the classes that they are in, whose sums they are taken out of.
    candidates : how many.
    """
    rows = *_pixels(seen), now.label, np.asarray(now.contrast, np.float32), now.own_shares()
    shared = *_parts(tables), tables.weight + tables.inverse[:, None], now.shares(len(tables)), np.float32(now.spread)
    (best,) = over_blocks(_likeliest, rows, shared, BLOCK, candidates=min(candidates, len(tables)))
    return against_some(seen, tables, now, best)


def against_some(
    seen: OnGrid, tables: ClassTables, now: Sorted, candidate: Int[np.ndarray, "particles candidates"]
) -> Predicted:
    """Return the same of given classes, in the order of how likely they are.

    Parameters
    ----------
    seen, tables, now : as of `against_all`.
    candidate : classes of each image.
    """
    share = now.shares(len(tables))
    rows = *_pixels(seen), now.label, np.asarray(now.contrast, np.float32), candidate
    linear, square, rest = over_blocks(_some, rows, _parts(tables), BLOCK)
    own = candidate == now.label[:, None]
    joint = integrated_likelihood(linear, square, now.spread, np) + rest
    joint += np.where(own, now.own_shares()[:, None], share[candidate])
    order = np.argsort(-joint, axis=1, kind="stable")
    first, precision = order[:, :1], max(now.spread, 1e-6) ** -2
    variance = 1 / (np.take_along_axis(square, first, 1)[:, 0] + precision)
    contrast = (np.take_along_axis(linear, first, 1)[:, 0] + precision) * variance
    sorted_joint = np.take_along_axis(joint, order, 1)
    return Predicted(np.take_along_axis(candidate, order, 1), sorted_joint, contrast, contrast**2 + variance)


def _pixels(seen: OnGrid) -> tuple[Array, Array, Array]:
    return seen.point, seen.image, seen.transfer


def _parts(tables: ClassTables) -> tuple[Array, Array, Array]:
    return tables.numerator, tables.weight, tables.inverse


def _padded(values: np.ndarray, size: int) -> Array:
    return jnp.asarray(np.pad(values, (0, size - len(values)), mode="edge"))


@jax.jit
def _some(
    point: Array,
    image: Array,
    transfer: Array,
    label: Array,
    contrast: Array,
    candidate: Array,
    numerator: Array,
    weight: Array,
    inverse: Array,
) -> tuple[Array, Array, Array]:
    def one(particle: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        at, x, passed, own, strength, asked = particle
        mine = (asked == own).astype(jnp.float32)
        here = at[:, None], asked[None]
        less, summed = (passed * strength)[:, None] ** 2 * mine, (passed * strength * x)[:, None] * mine
        full = jnp.maximum(weight[here] - less, 0) + inverse[at][:, None]
        values = numerator[here]
        return predicted(x, passed, jax.lax.complex(values[..., 0], values[..., 1]) - summed, full)

    found: tuple[Array, Array, Array] = jax.lax.map(one, (point, image, transfer, label, contrast, candidate))
    return found


def predicted(
    image: Complex[Array, "pixels"],
    transfer: Float[Array, "pixels"],
    numerator: Complex[Array, "pixels classes"],
    full: Float[Array, "pixels classes"],
) -> tuple[Float[Array, "classes"], Float[Array, "classes"], Float[Array, "classes"]]:
    """Return l, q and r: log p(x | images of a class, α) - log p(x | noise alone) = α l - ½ α² q + r.

    Parameters
    ----------
    image, transfer : x and τ.
    numerator, full : N and a of each class at the pixels' points.
    """
    passed = transfer[:, None]
    both = full + passed**2  # a (1 + τ² / a)
    along = image.real[:, None] * numerator.real + image.imag[:, None] * numerator.imag
    linear = jnp.sum(2 * passed * along / both, axis=0)
    square = jnp.sum(2 * passed**2 * (numerator.real**2 + numerator.imag**2) / (full * both), axis=0)
    power = (image.real**2 + image.imag**2)[:, None]
    rest = jnp.sum(power * passed**2 / both, axis=0) - _log_product(both / full)
    return linear, square, rest


def _log_product(factors: Float[Array, "pixels classes"]) -> Float[Array, "classes"]:
    """Return Σ log over the pixels, with one logarithm for several of them."""
    missing = -len(factors) % TOGETHER
    filled = jnp.pad(factors, ((0, missing), (0, 0)), constant_values=1)
    total: Array = jnp.log(jnp.prod(filled.reshape(-1, TOGETHER, factors.shape[1]), axis=1)).sum(axis=0)
    return total


@partial(jax.jit, static_argnames="candidates")
def _likeliest(
    point: Array,
    image: Array,
    transfer: Array,
    label: Array,
    contrast: Array,
    own_share: Array,
    numerator: Array,
    weight: Array,
    inverse: Array,
    full: Array,
    share: Array,
    spread: Array,
    candidates: int,
) -> tuple[Array]:
    own = _some(point, image, transfer, label, contrast, label[:, None], numerator, weight, inverse)
    linear, square, rest = (each[:, 0] for each in own)
    given_others = integrated_likelihood(linear, square, spread, jnp) + rest + own_share

    def one(particle: tuple[Array, ...]) -> Array:
        at, x, passed, mine, alone = particle
        values = numerator[at]
        linear, square, rest = predicted(x, passed, jax.lax.complex(values[..., 0], values[..., 1]), full[at])
        likelihood = integrated_likelihood(linear, square, spread, jnp) + rest
        return jax.lax.top_k((likelihood + share).at[mine].set(alone), candidates)[1]

    return (jax.lax.map(one, (point, image, transfer, label, given_others)),)
