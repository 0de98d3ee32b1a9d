"""What changes within a class: modes about its volume, kept where they predict images that they were not made of.

    V_i = V_k + Σ_j w_ij U_kj,      w_ij ~ N(0, 1)      for an image i of class k

Noise has principal modes too. So modes that are made of what the volume leaves of the images of one half-set
(`residuals`) are tried on the other, where they gain q_i nats an image, beyond what the volume gains where it may be
stronger, shifted and turned by little (`nuisances`): errors of contrast and poses are no change.

A class changes where the mean of q over its images is above `CERTAIN` of its standard errors, and above `LEAST_PART`
of what its volume explains of them: less than that, modes make of the errors of the nearest point of the grid, which go
with the view. The modes of a class have the factor that gains most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.normal_equations import parts_of
from libhetero.models.hype.latent.nuisances import nuisance_modes
from libhetero.models.hype.latent.residuals import FACTORS, MOST_POINTS, RANK, Residuals
from libhetero.models.hype.latent.volumes import places_among, signal_power, solved, sums_of
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST

CERTAIN = 4.0
LEAST_PART = 3e-3
LEAST_IMAGES = 40  # of a class in which modes are looked for


@dataclass(frozen=True, eq=False)
class WithinClasses:
    """Modes of the classes that change.

    Parameters
    ----------
    number : of each such class.
    volume : V of it.
    modes : U of it.
    gain : nats an image by which they predict other images better than the volume does, errors of contrast and pose
        allowed for.
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

    def weights(
        self, seen: OnGrid, label: Int[np.ndarray, "particles"]
    ) -> tuple[Float[np.ndarray, "particles modes"], Float[np.ndarray, "particles modes modes"]]:
        """Return mean and covariance of each particle's weights in the modes of its own class, 0 where it has none.

        Parameters
        ----------
        seen : slices, the contrast of each particle in its transfer.
        label : class of each particle, -1 for none.
        """
        rank = self.modes.shape[2]
        mean, covariance = np.zeros((len(label), rank)), np.zeros((len(label), rank, rank))
        owner = places_among(label, self.number)
        rows = np.flatnonzero(owner >= 0)
        images = Residuals(seen, rows, owner[rows], self.volume)
        mean[rows], covariance[rows] = images.weights(self.modes)
        return mean, covariance

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
    images = Residuals.of_classes(seen, label, chosen, volumes)
    half = seen.half[images.rows]
    made, other = ([images.chosen(half == one) for one in order] for order in ((0, 1), (1, 0)))
    known = nuisance_modes(volumes[chosen], seen.grid)
    tried = [tested.gains_beyond(known, source.modes(signal, seed)) for source, tested in zip(made, other, strict=True)]
    gain, owner = np.concatenate(tried, axis=1), np.concatenate([one.owner for one in other])
    factor, mean, error = _judged(gain, owner, len(chosen))
    changes = (mean > CERTAIN * error) & (mean > LEAST_PART * images.shown)
    if not changes.any():
        return chosen[:0], volumes[:0], np.zeros((0, seen.grid.size, RANK), np.complex64), mean[:0]
    chosen, factor = chosen[changes], factor[changes].astype(np.float32)
    whole = Residuals.of_classes(seen, label, chosen, volumes)
    modes = whole.modes(signal, seed)
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
