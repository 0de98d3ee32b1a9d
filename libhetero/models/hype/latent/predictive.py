"""How well the volume of a class, made of other images, predicts an image.

Images are in `FOLDS` parts. Those of one part are predicted by volumes of the images of the others: no image speaks
for itself, which would bind it to its class wherever classes are small. The volume V of a class is the one confined to
a ball that explains these images best (`volumes`); what it is off by at a point has, of the signal's power t there and
with n images of the class in the other parts, the variance

    v = t / (1 + w n)

with one w for each shell of frequencies, measured on how well the images of the part are predicted by their own
classes: the mean over their pixels of

    Σ τ² (|x - α τ V|² - 1) / Σ τ⁴ = t / (1 + w n)        at the mean n of an image.

Of an image x = α τ V + noise of contrast α ~ N(1, s²), which is integrated over (`classes`),

    log p(x | V) - log p(x | noise alone) = Σ |x|² - |x - α τ V|² / (1 + τ² v) - log (1 + τ² v)

over its pixels, each of which takes the value of the nearest point. No subspace is needed. That V is confined matters:
a molecule fills a small part of the box, so that a point of the grid says much of those around it, and the images of a
class, of which hardly two may meet at any point, say far more of its volume together.

References
----------
Scheres et al., Nat. Methods 4 (2007) 27: classes of projections by likelihood.
Gelfand, Dey and Chang, Bayesian Statistics 4 (1992) 147: models judged by how they predict what was left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.models.blocks import over_blocks
from libhetero.models.hype.latent.classes import EMPTY, integrated_likelihood
from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, few_sizes
from libhetero.models.hype.latent.volumes import class_sums_of, solved

FOLDS = 3
TOGETHER = 2  # factors whose product, of single precision, has one logarithm
BLOCK = 512  # images at once
LEAST_OFF, MOST_OFF = 0.02, 0.98  # part of the signal's power that volumes are off by


@dataclass(frozen=True, eq=False)
class Predictors:
    """Volumes of classes as images meet them, points first: an image reads whole rows.

    Parameters
    ----------
    real, imaginary : parts of V.
    variance : v, by shell of frequencies.
    shell : of each point.
    """

    real: Float[np.ndarray, "points classes"]
    imaginary: Float[np.ndarray, "points classes"]
    variance: Float[np.ndarray, "shells classes"]
    shell: Int[np.ndarray, "points"]

    def __len__(self) -> int:
        return self.real.shape[1]

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        """What compiled programs are given."""
        return self.real, self.imaginary, self.variance, self.shell


@dataclass(frozen=True, eq=False)
class Sorted:
    """Images in classes, as they are when likelihoods are asked for.

    Parameters
    ----------
    label, contrast : of each image, its class -1 for none.
    spread : s.
    """

    label: Int[np.ndarray, "particles"]
    contrast: Float[np.ndarray, "particles"]
    spread: float

    def counts(self, classes: int) -> Int[np.ndarray, "classes"]:
        """Return how many images are in each class."""
        return np.bincount(self.label[self.label >= 0], minlength=classes)

    def shares(self, classes: int) -> Float[np.ndarray, "classes"]:
        """Return the logarithm of the part of the images in each class; a class without images takes none."""
        count = self.counts(classes)
        return np.where(count > 0, np.log(np.maximum(count, 1) / max(count.sum(), 1)), EMPTY).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Predicted:
    """Images against some classes each.

    Parameters
    ----------
    candidate : the classes, the likeliest first.
    joint : log p(x | class) + log part of the images in it, nats, against noise alone.
    strength : α in each of them, posterior mean.
    square : E[α²].
    """

    candidate: Int[np.ndarray, "particles candidates"]
    joint: Float[np.ndarray, "particles candidates"]
    strength: Float[np.ndarray, "particles candidates"]
    square: Float[np.ndarray, "particles candidates"]

    def equations(
        self, spread: float
    ) -> tuple[Float[np.ndarray, "particles candidates"], Float[np.ndarray, "particles candidates"]]:
        """Return l and q of the module's equations: log p(x | V, α) is α l - ½ α² q and what α does not change.

        Parameters
        ----------
        spread : s, with which α was judged.
        """
        variance, prior = self.square - self.strength**2, _precision(spread)
        return self.strength / variance - prior, 1 / variance - prior

    @property
    def label(self) -> Int[np.ndarray, "particles"]:
        """The likeliest class of each."""
        return self.candidate[:, 0]

    @property
    def contrast(self) -> Float[np.ndarray, "particles"]:
        """α in the likeliest class of each."""
        return self.strength[:, 0]


@dataclass(frozen=True, eq=False)
class Folded:
    """Slices in parts, each predicted by the others.

    Parameters
    ----------
    seen : slices, on the host.
    signal : t, the signal's power at each point.
    fold : the part that each image is in.
    parts : the places of the images of each part, and their slices.
    grid : of the volumes: that of the slices, or another with the same points and a ball of its own.
    least_off : part of the signal's power that no volume is closer to an image than.
    scale : factor of all volumes, 1 where an image of contrast 1 shows the whole of V. Noise in |V|² makes it less,
        images in a class that show nothing make it more.
    """

    seen: OnGrid
    signal: Float[np.ndarray, "points"]
    fold: Int[np.ndarray, "particles"]
    parts: tuple[tuple[np.ndarray, OnGrid], ...]
    grid: FourierGrid
    least_off: float = LEAST_OFF
    scale: float = 1.0

    @classmethod
    def of(cls, seen: OnGrid, signal: Float[np.ndarray, "points"]) -> Folded:
        """Draw the parts, for the order of a list may have one."""
        point, image, transfer = (np.asarray(part) for part in (seen.point, seen.image, seen.transfer))
        held = replace(seen, point=point, image=image, transfer=transfer)  # on the host, where parts cost no program
        fold = np.random.default_rng(len(seen)).permutation(len(seen)) % FOLDS
        return cls(held, signal, fold, _parts_of(held, fold), seen.grid)

    def take(self, rows: Int[np.ndarray, "chosen"]) -> Folded:
        """Return some of the images, each in its part."""
        seen, fold = self.seen.take(rows), self.fold[rows]
        return replace(self, seen=seen, fold=fold, parts=_parts_of(seen, fold))

    @property
    def confined(self) -> OnGrid:
        """The slices, on the grid whose ball volumes are confined to."""
        return replace(self.seen, grid=self.grid)

    def in_ball(self, radius: float) -> Folded:
        """Return the same with volumes confined to another ball; slices are held once.

        Parameters
        ----------
        radius : of the ball, a part of the box.
        """
        return replace(self, grid=replace(self.grid, ball=radius))

    def predictors(self, now: Sorted, classes: int) -> Iterator[Predictors]:
        """Yield what predicts the images of each part.

        Parameters
        ----------
        now : the classes.
        classes : how many.
        """
        scaled, padded = _scaled(self.seen, now.contrast), few_sizes(classes)
        for one, (rows, part) in enumerate(self.parts):
            others = np.where(self.fold == one, -1, now.label)
            volumes = self._volumes(scaled, others, padded)
            count = np.bincount(others[others >= 0], minlength=padded)
            own = _scaled(part, now.contrast[rows])
            yield predictors_of(volumes, count, own, now.label[rows], self.signal, self.least_off)

    def whole(self, now: Sorted, classes: int) -> Predictors:
        """Return volumes of all images, for others; they are off by no more than those of which a part is left out.

        Parameters
        ----------
        now, classes : as of `predictors`.
        """
        volumes = self._volumes(_scaled(self.seen, now.contrast), now.label, classes)
        apart = list(self.predictors(now, classes))
        variance = np.mean([one.variance[:, :classes] for one in apart], axis=0)
        return Predictors(*_in_parts(volumes), variance, apart[0].shell)

    def _volumes(
        self, scaled: OnGrid, label: Int[np.ndarray, "particles"], classes: int
    ) -> Complex[np.ndarray, "classes points"]:
        """Return the volumes of classes, times their scale; the contrast of each particle is in its transfer."""
        volumes = solved(class_sums_of(scaled, label, classes), self.grid, self.signal)[:, 0]
        return volumes if self.scale == 1 else np.float32(self.scale) * volumes


def _parts_of(seen: OnGrid, fold: Int[np.ndarray, "particles"]) -> tuple[tuple[np.ndarray, OnGrid], ...]:
    rows = (np.flatnonzero(fold == one) for one in range(FOLDS))
    return tuple((part, seen.take(part)) for part in rows)


def _scaled(seen: OnGrid, contrast: Float[np.ndarray, "particles"]) -> OnGrid:
    """Return slices with the contrast of each particle in its transfer, on the host."""
    return replace(seen, transfer=np.asarray(seen.transfer) * np.asarray(contrast, np.float32)[:, None])


def predictors_of(
    volumes: Complex[np.ndarray, "classes points"],
    count: Int[np.ndarray, "classes"],
    seen: OnGrid,
    label: Int[np.ndarray, "particles"],
    signal: Float[np.ndarray, "points"],
    least_off: float = LEAST_OFF,
) -> Predictors:
    """Return volumes with what they are off by, as images say that they were not made of.

    Parameters
    ----------
    volumes : of the classes.
    count : images that each was made of.
    seen : the other images, the contrast of each in its transfer.
    label : class of each, -1 for none.
    signal : t.
    least_off : part of t that a volume is off by at least.
    """
    shell = shells_of(seen.grid)
    shells = int(shell.max()) + 1
    told = label >= 0
    power = np.bincount(shell, signal, shells) / np.maximum(np.bincount(shell, minlength=shells), 1)
    off, weight = np.zeros(shells), np.zeros(shells)
    if told.any():
        rows = seen.point, seen.image, seen.transfer, np.where(told, label, 0), told.astype(np.float32)
        shared = *_in_parts(volumes), shell
        for total, found in zip((off, weight), over_blocks(_errors, rows, shared, BLOCK, shells=shells), strict=True):
            total += found.sum(axis=0, dtype=np.float64)
    part = np.clip(off / np.maximum(weight, 1e-30) / np.maximum(power, 1e-30), least_off, MOST_OFF)
    mean = max(float(count[label[told]].mean()), 1.0) if told.any() else 1.0
    each = (1 / part - 1) / mean
    variance = power[:, None] / (1 + each[:, None] * np.maximum(count, 0.5))
    least = least_off * power[:, None]
    return Predictors(*_in_parts(volumes), np.maximum(variance, least).astype(np.float32), shell)


def shells_of(grid: FourierGrid) -> Int[np.ndarray, "points"]:
    """Return the shell of frequencies of each point, of those of which variances are told."""
    return np.rint(grid.radius).astype(np.int32)


def _in_parts(volumes: Complex[np.ndarray, "classes points"]) -> tuple[np.ndarray, np.ndarray]:
    """Return real and imaginary parts, points first."""
    return np.ascontiguousarray(volumes.real.T), np.ascontiguousarray(volumes.imag.T)


@partial(jax.jit, static_argnames="shells")
def _errors(
    point: Array,
    image: Array,
    transfer: Array,
    label: Array,
    told: Array,
    real: Array,
    imaginary: Array,
    shell: Array,
    shells: int,
) -> tuple[Array, Array]:
    """Return Σ τ² (|x - τ V|² - 1) and Σ τ⁴ of each image and shell."""

    def one(particle: tuple[Array, ...]) -> tuple[Array, Array]:
        at, x, passed, own, counted = particle
        off = jnp.square(x.real - passed * real[at, own]) + jnp.square(x.imag - passed * imaginary[at, own]) - 1
        sums = partial(jax.ops.segment_sum, segment_ids=shell[at], num_segments=shells)
        return sums(counted * passed**2 * off), sums(counted * passed**4)

    found: tuple[Array, Array] = jax.lax.map(one, (point, image, transfer, label, told))
    return found


def against_all(folded: Folded, now: Sorted, candidates: int) -> Predicted:
    """Return the likeliest classes of each image, among all.

    Parameters
    ----------
    folded : slices.
    now : the classes that they are in.
    candidates : how many.
    """
    classes = int(now.label.max()) + 1
    share = np.pad(now.shares(classes), (0, few_sizes(classes) - classes), constant_values=EMPTY)
    found = []
    for (_, part), predictors in zip(folded.parts, folded.predictors(now, classes), strict=True):
        found.append(_judged(part, predictors, share, now.spread, min(candidates, classes)))
    return _in_order(folded, found)


def against_some(folded: Folded, now: Sorted, candidate: Int[np.ndarray, "particles candidates"]) -> Predicted:
    """Return the same of given classes, in the order of how likely they are.

    Parameters
    ----------
    folded, now : as of `against_all`.
    candidate : classes of each image.
    """
    classes = int(max(now.label.max(), candidate.max())) + 1
    share, found = now.shares(classes), []
    for (rows, part), predictors in zip(folded.parts, folded.predictors(now, classes), strict=True):
        found.append(_judged_some(part, predictors, share, now.spread, candidate[rows]))
    return _in_order(folded, found)


def own_joint(folded: Folded, now: Sorted) -> Float[np.ndarray, "particles"]:
    """Return log p(x | own class) + log part of the images in it, nats; 0 where an image is in no class."""
    found = against_some(folded, now, np.maximum(now.label, 0)[:, None])
    return np.where(now.label >= 0, found.joint[:, 0], 0.0)


def judged_by(
    seen: OnGrid, predictors: Predictors, share: Float[np.ndarray, "classes"], spread: float, candidates: int
) -> Predicted:
    """Return the likeliest classes of images that no volume was made of.

    Parameters
    ----------
    seen : their slices.
    predictors : of the classes.
    share : logarithm of the part of the images in each.
    spread : of contrast.
    candidates : how many.
    """
    return _judged(seen, predictors, share, spread, min(candidates, len(share)))


def _in_order(folded: Folded, found: list[Predicted]) -> Predicted:
    """Return what was found of each part in the order of all images."""
    order = np.argsort(np.concatenate([rows for rows, _ in folded.parts]))
    names = "candidate", "joint", "strength", "square"
    return Predicted(*(np.concatenate([getattr(part, name) for part in found])[order] for name in names))


def _judged(seen: OnGrid, predictors: Predictors, share: np.ndarray, spread: float, candidates: int) -> Predicted:
    rows = seen.point, seen.image, seen.transfer
    shared = *predictors.parts, share, np.float32(spread)
    (best,) = over_blocks(_likeliest, rows, shared, BLOCK, candidates=candidates)
    return _judged_some(seen, predictors, share, spread, best)


def _judged_some(
    seen: OnGrid, predictors: Predictors, share: np.ndarray, spread: float, candidate: np.ndarray
) -> Predicted:
    rows = seen.point, seen.image, seen.transfer, candidate
    linear, square, rest = over_blocks(_some, rows, predictors.parts, BLOCK)
    joint = integrated_likelihood(linear, square, spread, np) + rest + share[candidate]
    precision = _precision(spread)
    variance = 1 / (square.astype(np.float64) + precision)  # of which `Predicted.equations` takes a difference
    strength = (linear.astype(np.float64) + precision) * variance
    return in_order_of(joint, candidate, joint, strength, strength**2 + variance)


def _precision(spread: float) -> float:
    """Return 1 / s²."""
    return float(max(spread, 1e-6) ** -2)


def in_order_of(joint: Float[np.ndarray, "particles candidates"], *parts: np.ndarray) -> Predicted:
    """Return what is known of images and classes, the likeliest first.

    Parameters
    ----------
    joint : by which classes are put in order.
    parts : the fields of `Predicted`.
    """
    order = np.argsort(-joint, axis=1, kind="stable")
    return Predicted(*(np.take_along_axis(part, order, axis=1) for part in parts))


@jax.jit
def _some(
    point: Array,
    image: Array,
    transfer: Array,
    candidate: Array,
    real: Array,
    imaginary: Array,
    variance: Array,
    shell: Array,
) -> tuple[Array, Array, Array]:
    def one(particle: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        at, x, passed, asked = particle
        here = at[:, None], asked[None]
        return predicted(x, passed, real[here], imaginary[here], variance[shell[at][:, None], asked[None]])

    found: tuple[Array, Array, Array] = jax.lax.map(one, (point, image, transfer, candidate))
    return found


def predicted(
    image: Complex[Array, "pixels"],
    transfer: Float[Array, "pixels"],
    real: Float[Array, "pixels classes"],
    imaginary: Float[Array, "pixels classes"],
    variance: Float[Array, "pixels classes"],
) -> tuple[Float[Array, "classes"], Float[Array, "classes"], Float[Array, "classes"]]:
    """Return l, q and r: log p(x | V, α) - log p(x | noise alone) = α l - ½ α² q + r.

    Parameters
    ----------
    image, transfer : x and τ.
    real, imaginary, variance : V and v of each class at the pixels' points.
    """
    passed = transfer[:, None]
    both = 1 + passed**2 * variance
    gain = 2 * passed / both
    linear = jnp.sum(gain * (image.real[:, None] * real + image.imag[:, None] * imaginary), axis=0)
    square = jnp.sum(gain * passed * (real**2 + imaginary**2), axis=0)
    power = (image.real**2 + image.imag**2)[:, None]
    rest = jnp.sum(power * (1 - 1 / both), axis=0) - _log_product(both)
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
    real: Array,
    imaginary: Array,
    variance: Array,
    shell: Array,
    share: Array,
    spread: Array,
    candidates: int,
) -> tuple[Array]:
    def one(particle: tuple[Array, ...]) -> Array:
        at, x, passed = particle
        linear, square, rest = predicted(x, passed, real[at], imaginary[at], variance[shell[at]])
        likelihood = integrated_likelihood(linear, square, spread, jnp) + rest
        return jax.lax.top_k(likelihood + share, candidates)[1]

    return (jax.lax.map(one, (point, image, transfer)),)
