"""What changes within a class: modes about its volume, kept where they predict images that they were not made of.

    V_i = V_k + Σ_j w_ij U_kj,      w_ij ~ N(0, 1)      for an image i of class k

The modes of each class are found by expectation maximisation of what its volume leaves of its images, as the subspace
of the whole set is (`subspace`), many classes at once; t being the power of the signal by shell, a mode's value at a
point is N(0, t / `STIFF`) beforehand. Noise has principal modes too. So modes made of one half-set are tried on the
other: with the normal equations g, H of an image in them, its weights integrated over, they gain

    q_i = ½ gᵀ (H + 1)⁻¹ g - ½ log |H + 1|       nats against the volume alone.

A class changes where the mean of q over its images is above `CERTAIN` of its standard errors, and above `LEAST_PART`
of what its volume explains of them: less than that, modes make of the errors of the nearest point of the grid, which go
with the view. Modes of noise predict nothing, and those that are too large predict worse than smaller ones: the factor
that all have is the one that gains most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int
from scipy.sparse import csr_matrix

from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.normal_equations import parts_of, symmetric
from libhetero.models.hype.latent.volumes import signal_power, solved, sums_of
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST

RANK = 3  # modes of a class
STEPS = 15
STIFF = 5.0
START = 0.3  # of the typical value that a mode may have
FACTORS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)  # of modes, tried on the other half-set
CERTAIN = 4.0
LEAST_PART = 3e-3
LEAST_IMAGES = 40  # of a class in which modes are looked for
MOST_POINTS = 2**21  # points of the grids of the classes that are worked on at once
BLOCK = 1024  # images


@dataclass(frozen=True, eq=False)
class WithinClasses:
    """Modes of the classes that change.

    Parameters
    ----------
    number : of each such class.
    volume : V of it.
    modes : U of it.
    gain : nats an image by which they predict other images better.
    """

    number: Int[np.ndarray, "changing"]
    volume: Complex[np.ndarray, "changing points"]
    modes: Complex[np.ndarray, "changing points modes"]
    gain: Float[np.ndarray, "changing"]

    def __len__(self) -> int:
        return len(self.number)

    def parts(self) -> tuple[np.ndarray, ...]:
        """Return all of it, in order."""
        return self.number, self.volume, self.modes, self.gain

    def take(self, rows: Int[np.ndarray, "chosen"]) -> WithinClasses:
        """Return some of the classes."""
        return WithinClasses(self.number[rows], self.volume[rows], self.modes[rows], self.gain[rows])


def changes_within(
    seen: OnGrid, label: Int[np.ndarray, "particles"], classes: int, most: int, seed: int
) -> WithinClasses:
    """Find what changes within classes.

    Parameters
    ----------
    seen : slices, the contrast of each particle in its transfer.
    label : class of each particle, -1 for none.
    classes : how many.
    most : of the classes that change are kept, those that gain most.
    seed : of the modes to begin with.
    """
    sums = sums_of(seen, label, classes)
    signal = signal_power(sums, seen.grid)
    volumes = solved(sums.whole(), seen.grid, signal)[:, 0]
    count = np.bincount(label[label >= 0], minlength=classes)
    worth = np.flatnonzero(count >= LEAST_IMAGES)
    together = max(1, MOST_POINTS // seen.grid.size)
    empty = np.zeros((0, seen.grid.size), np.complex64)
    found = WithinClasses(np.zeros(0, np.int64), empty, np.zeros((*empty.shape, RANK), np.complex64), np.zeros(0))
    for start in range(0, len(worth), together):
        more = _changing(seen, label, worth[start : start + together], volumes, signal, seed)
        found = WithinClasses(*(np.concatenate(each) for each in zip(found.parts(), more, strict=True)))
        found = found.take(np.sort(np.argsort(-found.gain, kind="stable")[:most]))
    return found


def weights_within(
    point: Int[Array, "pixels"],
    image: Complex[Array, "pixels"],
    transfer: Float[Array, "pixels"],
    table: Float[AnyArray, "points changing columns_twice"],
    spread: float,
) -> Float[Array, "changing modes"]:
    """Return the posterior mean of the weights of one image in every class that changes.

    The contrast α ~ N(1, s²) of the image is the most probable one for the volume of the class.

    Parameters
    ----------
    point, image, transfer : of its slice, as in `OnGrid`.
    table : volume and modes of each class, from `tables_of`.
    spread : s.
    """
    columns = table.shape[2] // 2
    both = jnp.asarray(table)[point] * transfer[:, None, None]
    real, imaginary = both[..., :columns], both[..., columns:]
    product = partial(jnp.einsum, precision=HIGHEST)
    along = product("p,pkc->kc", image.real, real) + product("p,pkc->kc", image.imag, imaginary)
    gradient = np.float32(np.sqrt(2)) * along
    hessian = product("pkc,pkd->kcd", real, real) + product("pkc,pkd->kcd", imaginary, imaginary)
    certain = 1 / max(spread, 1e-3) ** 2
    contrast = ((gradient[:, 0] + certain) / (hessian[:, 0, 0] + certain))[:, None]
    sides = contrast * gradient[:, 1:] - contrast**2 * hessian[:, 0, 1:]
    systems = contrast[..., None] ** 2 * hessian[:, 1:, 1:] + jnp.eye(columns - 1)
    found: Array = jnp.linalg.solve(systems, sides[..., None])[..., 0]
    return found


def tables_of(
    volume: Complex[np.ndarray, "changing points"], modes: Complex[np.ndarray, "changing points modes"]
) -> Float[np.ndarray, "points changing columns_twice"]:
    """Return what `weights_within` reads: real parts of volume and modes, then imaginary, times √2."""
    columns = np.concatenate([volume[..., None], modes], axis=2)
    return np.moveaxis(np.stack([np.asarray(parts_of(one)) for one in columns]), 0, 1)


def _changing(
    seen: OnGrid, label: np.ndarray, chosen: np.ndarray, volumes: np.ndarray, signal: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return number, volume, modes and gain of those of the chosen classes that change."""
    images = _Residuals.of_classes(seen, label, chosen, volumes)
    half = seen.half[images.rows]
    tried = [images.likelihood_gain(half != one, images.modes(half == one, signal, seed)) for one in (0, 1)]
    gain = np.concatenate([one[0] for one in tried], axis=1)
    owner = np.concatenate([one[1] for one in tried])
    factor, mean, error = _judged(gain, owner, len(chosen))
    changes = (mean > CERTAIN * error) & (mean > LEAST_PART * images.shown)
    if not changes.any():
        return chosen[:0], volumes[:0], np.zeros((0, seen.grid.size, RANK), np.complex64), mean[:0]
    chosen, factor = chosen[changes], factor[changes].astype(np.float32)
    whole = _Residuals.of_classes(seen, label, chosen, volumes)
    modes = whole.modes(np.ones(len(whole.rows), bool), signal, seed)
    return chosen, volumes[chosen], modes * factor[:, None, None], mean[changes]


def _judged(
    gain: Float[np.ndarray, "factors images"], owner: Int[np.ndarray, "images"], classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best factor of each class, the mean gain there, and its standard error."""
    count = np.maximum(np.bincount(owner, minlength=classes), 1)
    means = np.stack([np.bincount(owner, one, classes) for one in gain]) / count
    best = means.argmax(axis=0)
    chosen = gain[best[owner], np.arange(len(owner))]
    mean = means[best, np.arange(classes)]
    off = np.bincount(owner, (chosen - mean[owner]) ** 2, classes)
    return np.array(FACTORS)[best], mean, np.sqrt(off / np.maximum(count - 1, 1) / count) + 1e-12


class _Residuals:
    """What the volumes of some classes leave of their images, the grids of all classes one after another.

    Parameters
    ----------
    seen : slices.
    rows : the images of these classes.
    owner : class of each of them, from 0.
    volumes : of the classes.
    """

    def __init__(self, seen: OnGrid, rows: np.ndarray, owner: np.ndarray, volumes: np.ndarray) -> None:
        self.rows, self.owner, self._grid, self._classes = rows, owner, seen.grid, len(volumes)
        point = np.asarray(seen.point)[rows]
        self._transfer = np.asarray(seen.transfer)[rows]
        expected, image = self._transfer * volumes[owner[:, None], point], np.asarray(seen.image)[rows]
        self._image = image - expected
        explained = 2 * (expected.conj() * image).real.sum(axis=1) - (np.abs(expected) ** 2).sum(axis=1)
        count = np.maximum(np.bincount(owner, minlength=len(volumes)), 1)
        self.shown = np.bincount(owner, explained, len(volumes)) / count  # nats an image of each class
        self._point = point + (owner * seen.grid.size)[:, None]

    @classmethod
    def of_classes(cls, seen: OnGrid, label: np.ndarray, chosen: np.ndarray, volumes: np.ndarray) -> _Residuals:
        """Return the residuals of the images of some classes, which are numbered in their order."""
        place = np.full(int(label.max()) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero((label >= 0) & (place[np.maximum(label, 0)] >= 0))
        return cls(seen, rows, place[label[rows]], volumes[chosen])

    def modes(
        self, chosen: Bool[np.ndarray, "images"], signal: Float[np.ndarray, "points"], seed: int
    ) -> Complex[np.ndarray, "classes points modes"]:
        """Return the modes of each class, of some of the images."""
        rows = np.flatnonzero(chosen)
        size, classes = self._grid.size, self._classes
        point, image, transfer, owner = (one[rows] for one in (self._point, self._image, self._transfer, self.owner))
        count = np.maximum(np.bincount(owner, minlength=classes), 1)
        starts = np.arange(0, point.size + 1, point.shape[1])
        met, column = np.unique(point, return_inverse=True)  # points that some image is near to
        numerator, weight = (
            csr_matrix((values.ravel(), column.ravel(), starts), shape=(len(rows), len(met))).T.tocsr()
            for values in (transfer * image, transfer**2)
        )
        typical = np.sqrt(signal / STIFF)
        prior = (STIFF / signal)[met % size]
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(RANK, size, 2)).astype(np.float32)
        start = START * typical * (noise[..., 0] + 1j * noise[..., 1])
        modes = np.tile(self._confined(start.astype(np.complex64)).T, (classes, 1))
        upper = np.triu_indices(RANK)
        for _ in range(STEPS):
            gradient, hessian = self._equations(point, image, transfer, modes)
            covariance = np.linalg.inv(hessian + np.eye(RANK))
            latent = np.einsum("nij,nj->ni", covariance, gradient)
            second = covariance + latent[:, :, None] * latent[:, None]
            gram = symmetric((weight @ second[:, upper[0], upper[1]].astype(np.float32)), RANK, upper)
            gram[:, np.arange(RANK), np.arange(RANK)] += prior[:, None]
            right = numerator @ latent.astype(np.float32)
            found = np.linalg.solve(gram, np.stack([right.real, right.imag], axis=2))
            modes = np.zeros((classes * size, RANK), np.complex64)
            modes[met] = found[..., 0] + 1j * found[..., 1]
            modes = self._confined(modes.reshape(classes, size, RANK).transpose(0, 2, 1).reshape(-1, size))
            modes = modes.reshape(classes, RANK, size).transpose(0, 2, 1)
            spread = np.stack([np.bincount(owner, one, classes) for one in second.reshape(-1, RANK**2).T], axis=1)
            scale = np.linalg.cholesky(spread.reshape(-1, RANK, RANK) / count[:, None, None] + 1e-6 * np.eye(RANK))
            modes = (modes @ scale).reshape(classes * size, RANK).astype(np.complex64)
        return modes.reshape(classes, size, RANK)

    def likelihood_gain(
        self, chosen: Bool[np.ndarray, "images"], modes: Complex[np.ndarray, "classes points modes"]
    ) -> tuple[Float[np.ndarray, "factors chosen"], Int[np.ndarray, "chosen"]]:
        """Return q of some of the images for every factor of the modes, and the class of each."""
        rows = np.flatnonzero(chosen)
        parts = (self._point[rows], self._image[rows], self._transfer[rows])
        gradient, hessian = self._equations(*parts, modes.reshape(-1, RANK))
        gains = []
        for factor in FACTORS:
            system = factor**2 * hessian + np.eye(RANK)
            along = np.linalg.solve(system, factor * gradient[..., None])[..., 0]
            gains.append(0.5 * factor * (gradient * along).sum(axis=1) - 0.5 * np.linalg.slogdet(system)[1])
        return np.stack(gains), self.owner[rows]

    def _confined(self, values: Complex[np.ndarray, "volumes points"]) -> Complex[np.ndarray, "volumes points"]:
        return np.asarray(self._grid.confined(values))

    def _equations(
        self, point: np.ndarray, image: np.ndarray, transfer: np.ndarray, modes: Complex[np.ndarray, "all_points modes"]
    ) -> tuple[Float[np.ndarray, "images modes"], Float[np.ndarray, "images modes modes"]]:
        """Return g and H of images in the modes of their classes."""
        table, found = parts_of(modes), []
        for start in range(0, len(point), BLOCK):
            block = [one[start : start + BLOCK] for one in (point, image, transfer)]
            missing = ((0, BLOCK - len(block[0])), (0, 0))
            made = _in_modes(*(np.pad(one, missing) for one in block), table)
            found.append([np.asarray(one, np.float64)[: len(block[0])] for one in made])
        gradient, hessian = (np.concatenate(each) for each in zip(*found, strict=True))
        return gradient, hessian


@jax.jit
def _in_modes(point: Array, image: Array, transfer: Array, parts: Array) -> tuple[Array, Array]:
    columns = parts.shape[1] // 2
    both = parts[point] * transfer[..., None]
    real, imaginary = both[..., :columns], both[..., columns:]
    product = partial(jnp.einsum, precision=HIGHEST)
    along = product("np,npc->nc", image.real, real) + product("np,npc->nc", image.imag, imaginary)
    hessian = product("npc,npd->ncd", real, real) + product("npc,npd->ncd", imaginary, imaginary)
    return np.float32(np.sqrt(2)) * along, hessian
