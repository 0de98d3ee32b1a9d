"""How much noise each image has, where images differ in that: what their normal equations leave unexplained.

The weights of the rings are those of the whole set, and what is called noise has variance 1 in them. Images of thick
ice, or with neighbours, have more. With r what the neutral mixture leaves of an image, d numbers of which are compared,
and H, g of its P columns,

    b² = (|r|² - gᵀ H⁻¹ g) / (d - P)

is its noise power, whatever the changes are that the columns show; by chance log b² is off by √(2 / (d - P)). If it
differs between images by more than that and by more than `NOTICEABLE`, images are taken to have log b² ~ N(m, τ²), and
each has the mean of what is then known of it. Everything that it says is divided by its noise power: H and g by b²,
what draws of noise say by b. Otherwise b = 1. Without this, a few images of much noise pass for a direction of change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LOOKED_AT = 512  # images by which it is decided whether noise differs
NOTICEABLE = 0.15  # τ: fewer differences make no direction of change
CERTAIN = 5.0  # standard deviations of what chance gives
LEAST_FREEDOM = 64  # d - P
RIDGE = 1e-4  # of columns of unit length, of which some show nearly the same
LEAST_LENGTH = 1e-6  # of the longest column: shorter ones show nothing
TOGETHER = 64  # images
NORMAL = 0.7413  # standard deviation of a normal distribution over the distance of its quartiles


@dataclass(frozen=True, eq=False)
class Said:
    """What images say, each with its own nuisances.

    Parameters
    ----------
    hessian, gradient : H and g.
    noise : what draws of noise of power 1 say in the place of g.
    power : |r|².
    """

    hessian: Float[np.ndarray, "images columns columns"]
    gradient: Float[np.ndarray, "images columns"]
    noise: Float[np.ndarray, "images draws columns"]
    power: Float[np.ndarray, "images"]

    def __len__(self) -> int:
        return len(self.gradient)

    def take(self, rows: slice | np.ndarray) -> Said:
        """Return what some of the images say."""
        return Said(self.hessian[rows], self.gradient[rows], self.noise[rows], self.power[rows])

    def unexplained(self, compared: int) -> tuple[Float[np.ndarray, "images"], Float[np.ndarray, "images"]]:
        """Return b² of each image, and d - P.

        Parameters
        ----------
        compared : d.
        """
        hessian, gradient = self.hessian.astype(np.float64), self.gradient.astype(np.float64)
        length = np.sqrt(np.maximum(np.diagonal(hessian, axis1=1, axis2=2), 0))
        shown = length > LEAST_LENGTH * length.max(axis=1, keepdims=True)
        unit = np.where(shown, 1 / np.where(shown, length, 1), 0)
        inverse = np.linalg.inv(unit[:, :, None] * hessian * unit[:, None] + RIDGE * np.eye(hessian.shape[1]))
        along = unit * gradient
        explained = np.einsum("np,npq,nq->n", along, inverse, along)
        freedom = compared - hessian.shape[1] + RIDGE * np.trace(inverse, axis1=1, axis2=2)
        rest = np.maximum(self.power - explained, 1e-6 * self.power + 1e-30)
        return rest / np.maximum(freedom, 1.0), freedom

    def keep(self, rows: slice, part: Said) -> None:
        """Put what some of the images say into its place."""
        for name in ("hessian", "gradient", "noise", "power"):
            getattr(self, name)[rows] = getattr(part, name)


@dataclass(frozen=True)
class NoisePower:
    """How the noise power of images is distributed.

    Parameters
    ----------
    compared : numbers d that are compared of an image.
    middle, spread : m and τ of log b²; τ = 0 where all images have noise of power 1.
    """

    compared: int
    middle: float = 0.0
    spread: float = 0.0

    @classmethod
    def learnt(cls, said: Said, compared: int) -> NoisePower:
        """Learn it from some of the images."""
        few = said.take(np.arange(min(LOOKED_AT, len(said))) * len(said) // max(min(LOOKED_AT, len(said)), 1))
        count = len(few)
        if count < 2 or compared - few.gradient.shape[1] < LEAST_FREEDOM:
            return cls(compared)
        found = [few.take(rows).unexplained(compared) for rows in _parts(count)]
        power, freedom = (np.concatenate(column) for column in zip(*found, strict=True))
        level, chance = np.log(power), float(np.mean(2 / freedom))
        low, middle, high = np.percentile(level, (25, 50, 75))
        variance = max(float(np.var(level)), (NORMAL * (high - low)) ** 2)
        spread = float(np.sqrt(max(variance - chance, 0.0)))
        if variance <= chance * (1 + CERTAIN * np.sqrt(2 / count)) or spread < NOTICEABLE:
            return cls(compared)
        return cls(compared, float(middle), spread)

    def divided(self, said: Said) -> Said:
        """Return what a few images say, divided by their noise power."""
        if self.spread == 0:
            return said
        power, freedom = said.unexplained(self.compared)
        told = self.spread**2 / (self.spread**2 + 2 / freedom)
        noise = np.exp(self.middle + told * (np.log(power) - self.middle)).astype(np.float32)
        return Said(
            said.hessian / noise[:, None, None],
            said.gradient / noise[:, None],
            said.noise / np.sqrt(noise)[:, None, None],
            said.power,
        )

    def divide(self, said: Said) -> None:
        """Divide what images say by their noise power, in place."""
        if self.spread > 0:
            for rows in _parts(len(said)):
                said.keep(rows, self.divided(said.take(rows)))


def _parts(count: int) -> Iterator[slice]:
    """Yield places of a few images at a time."""
    return (slice(start, min(start + TOGETHER, count)) for start in range(0, count, TOGETHER))
