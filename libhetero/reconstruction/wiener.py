"""From sums of backprojected images to a map: the Wiener filter, its strength measured from the half-sets.

With N and D of the two half-sets (`libhetero.reconstruction.backproject`), of which N = D V + noise,

    V = N / (D + E(|k|)),      E = f σ² / (τ² p³)

is the best linear estimate of V, voxel by voxel, where σ² is the power of the noise in a Fourier pixel of an image, τ²
that of the signal in a Fourier voxel, p³ how many voxels of the oversampled grid share what one of the box holds, and f
the share of the box that the molecule fills. All are measured, σ² and τ² shell by shell:

- τ² = Σ Re N₁ N₂* / Σ D₁ D₂, as the noise of one half-set is not that of the other;
- κ σ² = Σ |D₂ N₁ - D₁ N₂|² / Σ D₁ D₂ (D₁ + D₂), in which the signal cancels; κ = (2/3)³ is what spreading a pixel
  over its eight neighbours leaves of its noise in a voxel;
- f = (∫ s)² / V ∫ s², with s the product of the half-maps, smoothed, and V the box: f is the filled share exactly where
  s is even inside the molecule and nothing outside. It needs neither a threshold nor a mask, and noise averages out.

Without f the filter would be the best over the whole box, most of which is solvent: the molecule, where the signal is
1 / f times as strong, would be blurred. The correlation of the half-maps does not enter: in it, voxels that few images
reach count as much as any, so that E by it is several times too large.

Before dividing, N and D are averaged over neighbouring voxels with the weights ¼, ½, ¼ along each axis, whose transform
the map is divided by: fewer images are then alone in a voxel. As D falls with |k|, its mean at |k| is divided out
before, so that a voxel does not take the values of the fuller one beside it.

References
----------
Sindelar & Grigorieff, J. Struct. Biol. 180 (2012) 26: the filter for a molecule that fills part of the box.
Scheres, J. Struct. Biol. 180 (2012) 519: the regularised map; there σ² is refined and f is 1.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex, Float, Inexact

from libhetero.physics.fourier import hermitian_weight
from libhetero.physics.masks import soft_sphere
from libhetero.physics.slices import hermitian_plane, kernel_correction

LEAST, MOST = 1e-4, 1.0  # E / ⟨D⟩ of the map
UNKNOWN = 0.1  # the same where there is one half-set only, which does not tell signal from noise
PLAIN = 1e-3  # the same of half-maps: no more than division needs
SPREAD = (2 / 3) ** 3  # κ
WIDTH = 1 / 24  # of the box: over which the product of the half-maps is smoothed
FIRST_SHELLS = 2.0, 4.0  # below the first, where background is, nothing counts for f; from the second on, all
SLAB = 16  # planes of the grid in hand at a time


@dataclass(frozen=True, eq=False)
class ShellPowers:
    """What the half-sets tell of each shell 0 … n // 2 of the box; the last is beyond Nyquist.

    Parameters
    ----------
    coverage : ⟨D⟩ of both half-sets together.
    signal : τ²; by chance it may be below 0.
    noise : σ² / p³.
    known : whether both half-sets reach the shell.
    """

    coverage: Float[np.ndarray, "shells"]
    signal: Float[np.ndarray, "shells"]
    noise: Float[np.ndarray, "shells"]
    known: Bool[np.ndarray, "shells"]

    def regularisation(self, share: float) -> Float[np.ndarray, "shells"]:
        """Return E / ⟨D⟩ for a molecule that fills this share of the box, within the limits of this module."""
        strong = self.known & (self.signal * self.coverage * MOST > share * self.noise)
        ratio = share * self.noise / np.where(strong, self.signal * self.coverage, 1.0)
        return np.where(self.known, np.where(strong, np.maximum(ratio, LEAST), MOST), UNKNOWN)


class Grid:
    """The oversampled half space of a box: its shells, sums over them, and the way back to the box.

    Parameters
    ----------
    n : box size, voxels (even).
    padded : edge of the grid.
    """

    def __init__(self, n: int, padded: int) -> None:
        self.n, self.padded = n, padded
        self.radius = radius_3d(padded)

    def powers(
        self, numerator: Complex[np.ndarray, "2 padded padded half"], weight: Float[np.ndarray, "2 padded padded half"]
    ) -> ShellPowers:
        """Return signal and noise from the sums of both half-sets."""
        sums = np.zeros((6, self.n // 2 + 1))
        column = hermitian_weight(self.padded)
        for start in range(0, self.padded, SLAB):
            part = slice(start, start + SLAB)
            (first, second), (one, two) = numerator[:, part], weight[:, part]
            shell = np.minimum(np.rint(self.radius[part] * self.n), self.n // 2).astype(np.int32)
            terms = (
                np.ones_like(one),
                one + two,
                one * two,
                first.real * second.real + first.imag * second.imag,
                one * two * (one + two),
                np.abs(two * first - one * second) ** 2,
            )
            sums += [np.bincount(shell.ravel(), (term * column).ravel(), len(sums[0])) for term in terms]
        count, total, both, cross, mixed, difference = sums
        known = both > 0
        noise = difference / np.where(known, mixed, 1.0) / (SPREAD * (self.padded / self.n) ** 3)
        return ShellPowers(total / count, cross / np.where(known, both, 1.0), noise, known)

    def volume(
        self,
        numerator: Complex[np.ndarray, "padded padded half"],
        weight: Float[np.ndarray, "padded padded half"],
        ratio: Float[np.ndarray, "shells"],
    ) -> Float[np.ndarray, "n n n"]:
        """Return the map N / (D + E) with E = ratio · ⟨D⟩, read off between the shells, within Nyquist."""
        mean = self._mean(weight)
        divisor = averaged(weight / mean)
        divisor += np.interp(self.radius * self.n, np.arange(len(ratio)), ratio).astype(np.float32)
        fourier = averaged(numerator / mean)
        fourier /= divisor
        fourier *= self.radius < 0.5
        whole = np.fft.fftshift(scipy.fft.irfftn(fourier, s=(self.padded,) * 3, overwrite_x=True))
        before = self.padded // 2 - self.n // 2
        inside = slice(before, before + self.n)
        return whole[inside, inside, inside] * _correction(self.n, self.padded)

    def _mean(self, weight: Float[np.ndarray, "padded padded half"]) -> Float[np.ndarray, "padded padded half"]:
        """Return the mean of D at the |k| of every voxel, read off between the shells of the grid; 1 where it is 0."""
        shell = np.rint(self.radius * self.padded).astype(np.int32).ravel()
        column = hermitian_weight(self.padded)
        count = np.bincount(shell, np.broadcast_to(column, weight.shape).ravel())
        mean = np.bincount(shell, (weight * column).ravel()) / count
        mean = np.interp(self.radius * self.padded, np.arange(len(mean)), np.where(mean > 0, mean, 1.0))
        return mean.astype(np.float32)


def averaged(grid: Inexact[np.ndarray, "padded padded half"]) -> Inexact[np.ndarray, "padded padded half"]:
    """Return the mean of neighbouring voxels of a Hermitian half space, with weights ¼, ½, ¼ along each axis."""
    mirror = (-np.arange(len(grid))) % len(grid)
    below = np.conj(grid[:, :, 1][mirror][:, mirror])[..., None]  # the column kx = -1
    along = np.concatenate([below, grid, np.zeros_like(below)], axis=2)  # beyond Nyquist of the grid there is nothing
    grid = 0.5 * grid + 0.25 * (along[:, :, :-2] + along[:, :, 2:])
    for axis in (0, 1):
        grid = 0.5 * grid + 0.25 * (np.roll(grid, 1, axis) + np.roll(grid, -1, axis))
    return grid


def filled_share(half_maps: Float[np.ndarray, "2 n n n"], ratio: Float[np.ndarray, "shells"]) -> float:
    """Return which share of the box the molecule fills, from what the half-maps have in common.

    Parameters
    ----------
    half_maps : hardly regularised.
    ratio : E / ⟨D⟩ of each shell, which says how much of it is signal.
    """
    n = len(half_maps[0])
    radius = radius_3d(n) * n
    low, high = FIRST_SHELLS
    trusted = np.interp(radius, np.arange(len(ratio)), 1 / (1 + ratio)) * (radius < n / 2)
    trusted *= np.clip((radius - low) / (high - low), 0, 1)
    first, second = (scipy.fft.irfftn(scipy.fft.rfftn(one) * trusted, s=one.shape) for one in half_maps)
    smooth = np.exp(-2 * (np.pi * WIDTH * radius) ** 2)
    common = scipy.fft.irfftn(scipy.fft.rfftn(first * second) * smooth, s=first.shape)
    most, total, square = float(inner_ball(n).mean()), float(common.sum()), float(np.square(common).sum())
    return min(total**2 / square / common.size, most) if total > 0 else most


@functools.lru_cache(1)
def inner_ball(n: int) -> Float[np.ndarray, "n n n"]:
    """Return the soft ball that touches the faces of the box: what lies beyond is not in every image."""
    return np.asarray(soft_sphere(n, n / 2 - n / 16, n / 16))


def solved(
    numerator: Complex[np.ndarray, "2 padded padded half"], weight: Float[np.ndarray, "2 padded padded half"], n: int
) -> tuple[Float[np.ndarray, "n n n"], Float[np.ndarray, "2 n n n"]]:
    """Return the map of all images, filtered, and the two half-maps, not filtered.

    Parameters
    ----------
    numerator, weight : N and D of both half-sets, as spread on the half space.
    n : box size, voxels.
    """
    grid = Grid(n, numerator.shape[1])
    numerator, weight = (np.stack([hermitian_plane(half) for half in halves]) for halves in (numerator, weight))
    powers = grid.powers(numerator, weight)
    plain = np.full(n // 2 + 1, PLAIN)
    half_maps = np.stack([grid.volume(up, down, plain) for up, down in zip(numerator, weight, strict=True)])
    share = filled_share(half_maps, powers.regularisation(float(inner_ball(n).mean())))
    volume = grid.volume(numerator.sum(axis=0), weight.sum(axis=0), powers.regularisation(share))
    return volume * inner_ball(n), half_maps * inner_ball(n)


@functools.lru_cache(1)
def _correction(n: int, padded: int) -> Float[np.ndarray, "n n n"]:
    """Return what undoes trilinear spreading and the average over neighbours, in real space."""
    axis = (1 / (0.5 + 0.5 * np.cos(2 * np.pi * (np.arange(n) - n // 2) / padded))).astype(np.float32)
    return kernel_correction(n, padded) * (axis[:, None, None] * axis[None, :, None] * axis[None, None, :])


def radius_3d(n: int) -> Float[np.ndarray, "n n half"]:
    """Return |k| of every half-space voxel, cycles per voxel."""
    full, half = np.fft.fftfreq(n).astype(np.float32) ** 2, np.fft.rfftfreq(n).astype(np.float32) ** 2
    return np.sqrt(full[:, None, None] + full[None, :, None] + half[None, None, :])
