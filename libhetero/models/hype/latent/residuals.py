"""What the volumes of classes leave of their images, and the modes of that, many classes at once.

    x_i = τ_i (V_k + Σ_j w_ij U_kj) + noise,      w_ij ~ N(0, 1)      for an image i of class k

The modes U are found by expectation maximisation, as the subspace of the whole set is (`subspace`); t being the power
of the signal by shell, a mode's value at a point is N(0, t / `STIFF`) beforehand. With the normal equations g, H of an
image in them, its weights integrated over, they gain

    q_i = ½ gᵀ (H + 1)⁻¹ g - ½ log |H + 1|       nats against the volume alone.

What is made of noise predicts nothing, and modes that are too large predict worse than smaller ones: all are tried with
every factor of `FACTORS`.
"""

from __future__ import annotations

from copy import copy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int
from scipy.sparse import csr_matrix

from libhetero.models.blocks import over_blocks
from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.normal_equations import parts_of, symmetric
from libhetero.models.hype.latent.volumes import places_among
from libhetero.physics.rotations import HIGHEST

RANK = 3  # modes of a class
STEPS = 15
STIFF = 5.0
START = 0.3  # of the typical value that a mode may have
FACTORS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)  # of modes, that are tried on images that they were not made of
KNOWN_FACTORS = (0.0, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0)  # of modes that images may have anyway
MOST_POINTS = 2**21  # points of the grids of the classes that are worked on at once
BLOCK = 1024  # images
PIXELS = 256  # of each, about


class Residuals:
    """What the volumes of some classes leave of their images, the grids of all classes one after another.

    Parameters
    ----------
    seen : slices.
    rows : the images of these classes.
    owner : class of each of them, from 0; an image may be in several, in a row for each.
    volumes : of the classes.
    """

    def __init__(self, seen: OnGrid, rows: np.ndarray, owner: np.ndarray, volumes: np.ndarray) -> None:
        self.rows, self.owner, self._grid, self._classes = rows, owner, seen.grid, len(volumes)
        point = np.asarray(seen.point)[rows]
        self._transfer = np.asarray(seen.transfer)[rows]
        expected, image = self._transfer * volumes[owner[:, None], point], np.asarray(seen.image)[rows]
        self._image = image - expected
        product = 2 * (expected.conj() * image).real.sum(axis=1, dtype=np.float64)
        self.explained = product - (np.abs(expected) ** 2).sum(axis=1, dtype=np.float64)
        self._point = point + (owner * seen.grid.size)[:, None]

    @classmethod
    def of_classes(cls, seen: OnGrid, label: np.ndarray, chosen: np.ndarray, volumes: np.ndarray) -> Residuals:
        """Return the residuals of the images of some classes, which are numbered in their order."""
        owner = places_among(label, chosen)
        rows = np.flatnonzero(owner >= 0)
        return cls(seen, rows, owner[rows], volumes[chosen])

    def chosen(self, images: Bool[np.ndarray, "images"]) -> Residuals:
        """Return some of the images, of the same classes."""
        part = copy(self)
        names = "rows", "owner", "explained", "_point", "_image", "_transfer"
        for name in names:
            setattr(part, name, getattr(self, name)[images])
        return part

    def modes(
        self, signal: Float[np.ndarray, "points"], seed: int, rank: int = RANK
    ) -> Complex[np.ndarray, "classes points modes"]:
        """Return the modes of each class.

        Parameters
        ----------
        signal : t at each point.
        seed : of what they are begun with.
        rank : modes of each class.
        """
        size, classes = self._grid.size, self._classes
        if not len(self.rows):
            return np.zeros((classes, size, rank), np.complex64)
        point, image, transfer, owner = self._point, self._image, self._transfer, self.owner
        count = np.maximum(np.bincount(owner, minlength=classes), 1)
        starts = np.arange(0, point.size + 1, point.shape[1])
        met, column = np.unique(point, return_inverse=True)  # points that some image is near to
        numerator, weight = (
            csr_matrix((values.ravel(), column.ravel(), starts), shape=(len(point), len(met))).T.tocsr()
            for values in (transfer * image, transfer**2)
        )
        typical = np.sqrt(signal / STIFF)
        prior = (STIFF / signal)[met % size]
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(rank, size, 2)).astype(np.float32)
        start = START * typical * (noise[..., 0] + 1j * noise[..., 1])
        modes = np.tile(self._confined(start.astype(np.complex64)).T, (classes, 1))
        upper = np.triu_indices(rank)
        for _ in range(STEPS):
            gradient, hessian = _equations(point, image, transfer, modes)
            covariance = np.linalg.inv(hessian + np.eye(rank))
            latent = np.einsum("nij,nj->ni", covariance, gradient)
            second = covariance + latent[:, :, None] * latent[:, None]
            gram = symmetric((weight @ second[:, upper[0], upper[1]].astype(np.float32)), rank, upper)
            gram[:, np.arange(rank), np.arange(rank)] += prior[:, None]
            right = numerator @ latent.astype(np.float32)
            found = np.linalg.solve(gram, np.stack([right.real, right.imag], axis=2))
            modes = np.zeros((classes * size, rank), np.complex64)
            modes[met] = found[..., 0] + 1j * found[..., 1]
            modes = self._confined(modes.reshape(classes, size, rank).transpose(0, 2, 1).reshape(-1, size))
            modes = modes.reshape(classes, rank, size).transpose(0, 2, 1)
            spread = np.stack([np.bincount(owner, one, classes) for one in second.reshape(-1, rank**2).T], axis=1)
            scale = np.linalg.cholesky(spread.reshape(-1, rank, rank) / count[:, None, None] + 1e-6 * np.eye(rank))
            modes = (modes @ scale).reshape(classes * size, rank).astype(np.complex64)
        return modes.reshape(classes, size, rank)

    @property
    def shown(self) -> Float[np.ndarray, "classes"]:
        """Nats by which the volume of a class explains its images better than noise alone, on the average."""
        count = np.maximum(np.bincount(self.owner, minlength=self._classes), 1)
        return np.bincount(self.owner, self.explained, self._classes) / count

    def gains(self, modes: Complex[np.ndarray, "classes points modes"]) -> Float[np.ndarray, "factors images"]:
        """Return q of the images for every factor of the modes."""
        return gains_of(*self.equations(modes))

    def gains_beyond(
        self, known: Complex[np.ndarray, "classes points known"], modes: Complex[np.ndarray, "classes points modes"]
    ) -> Float[np.ndarray, "factors images"]:
        """Return q of the images for every factor of the modes, beyond that of others, which they may have anyway.

        Parameters
        ----------
        known : other modes, each class's times the factor of `KNOWN_FACTORS` that its images ask for.
        modes : whose gain it is.
        """
        count = known.shape[2]
        gradient, hessian = self.equations(np.concatenate([known, modes], axis=2))
        alone = np.stack(
            [_gain(one * gradient[:, :count], one**2 * hessian[:, :count, :count]) for one in KNOWN_FACTORS]
        )
        summed = np.stack([np.bincount(self.owner, one, self._classes) for one in alone])
        chosen = summed.argmax(axis=0)[self.owner]
        factor = np.ones(gradient.shape)
        factor[:, :count] = np.array(KNOWN_FACTORS)[chosen][:, None]
        own = alone[chosen, np.arange(len(chosen))]
        found = []
        for one in FACTORS:
            factor[:, count:] = one
            found.append(_gain(factor * gradient, factor[:, :, None] * hessian * factor[:, None]) - own)
        return np.stack(found)

    def weights(
        self, modes: Complex[np.ndarray, "classes points modes"]
    ) -> tuple[Float[np.ndarray, "images modes"], Float[np.ndarray, "images modes modes"]]:
        """Return mean and covariance of the weights of the images, given these."""
        gradient, hessian = self.equations(modes)
        return _solved(gradient, hessian), np.linalg.inv(hessian + np.eye(hessian.shape[1]))

    def equations(
        self, modes: Complex[np.ndarray, "classes points modes"]
    ) -> tuple[Float[np.ndarray, "images modes"], Float[np.ndarray, "images modes modes"]]:
        """Return g and H of the images in the modes of their classes."""
        return _equations(self._point, self._image, self._transfer, modes.reshape(-1, modes.shape[2]))

    def _confined(self, values: Complex[np.ndarray, "volumes points"]) -> Complex[np.ndarray, "volumes points"]:
        return np.asarray(self._grid.confined(values))


def gains_of(
    gradient: Float[np.ndarray, "images modes"], hessian: Float[np.ndarray, "images modes modes"]
) -> Float[np.ndarray, "factors images"]:
    """Return q of images for every factor of the modes that g and H are of."""
    return np.stack([_gain(factor * gradient, factor**2 * hessian) for factor in FACTORS])


def fewer_where_wide(images: int, pixels: int) -> int:
    """Return how many particles are worked on at once where they have more pixels than one image of low rings.

    Parameters
    ----------
    images : how many of one image.
    pixels : of each.
    """
    return images if pixels <= PIXELS else max(images * PIXELS // pixels, 1)


def _gain(gradient: np.ndarray, hessian: np.ndarray) -> Float[np.ndarray, "images"]:
    """Return q of each image."""
    _, determinant = np.linalg.slogdet(hessian + np.eye(hessian.shape[1]))
    gain: np.ndarray = 0.5 * ((gradient * _solved(gradient, hessian)).sum(axis=1) - determinant)
    return gain


def _equations(
    point: Int[np.ndarray, "images pixels"],
    image: Complex[np.ndarray, "images pixels"],
    transfer: Float[np.ndarray, "images pixels"],
    modes: Complex[np.ndarray, "all_points modes"],
) -> tuple[Float[np.ndarray, "images modes"], Float[np.ndarray, "images modes modes"]]:
    """Return g and H of images in modes, block by block."""
    rank, together = modes.shape[1], fewer_where_wide(BLOCK, point.shape[1])
    if not len(point):
        return np.zeros((0, rank)), np.zeros((0, rank, rank))
    gradient, hessian = over_blocks(_in_modes, (point, image, transfer), (parts_of(modes),), together)
    return gradient.astype(np.float64), hessian.astype(np.float64)


def _solved(gradient: np.ndarray, hessian: np.ndarray) -> Float[np.ndarray, "images modes"]:
    """Return (H + 1)⁻¹ g of each image."""
    found: np.ndarray = np.linalg.solve(hessian + np.eye(hessian.shape[1]), gradient[..., None])[..., 0]
    return found


@jax.jit
def _in_modes(point: Array, image: Array, transfer: Array, parts: Array) -> tuple[Array, Array]:
    columns = parts.shape[1] // 2
    both = parts[point] * transfer[..., None]
    real, imaginary = both[..., :columns], both[..., columns:]
    product = partial(jnp.einsum, precision=HIGHEST)
    along = product("np,npc->nc", image.real, real) + product("np,npc->nc", image.imag, imaginary)
    hessian = product("npc,npd->ncd", real, real) + product("npc,npd->ncd", imaginary, imaginary)
    return np.float32(np.sqrt(2)) * along, hessian
