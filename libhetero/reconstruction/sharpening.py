"""Sharpening of a map by a B-factor, as measured by the fall of its amplitudes or given.

The amplitudes of a map fall with the resolution as exp(-B s² / 4). With the half-maps' mean F, its FSC, and
C = √(2 FSC / (1 + FSC)) the correlation of the map with the truth that the FSC stands for, the sharpened map is

    F · C · exp(-b s² / 4)      up to the resolution,

with b the B-factor that is applied, below 0 to sharpen. Measured, b is four times the slope of ln(C ⟨|F|⟩) over s²
between 10 Å and the resolution: the amplitudes are level then.

References
----------
Rosenthal & Henderson, J. Mol. Biol. 333 (2003) 721. Range and weights are those of RELION's postprocessing.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from libhetero.physics.correlation import shell_index
from libhetero.physics.fourier import frequencies_3d, hermitian_weight

COARSEST = 10.0  # Å: coarser shells show the shape of the molecule
FEWEST = 3  # shells that a line is laid through
EDGE = 2.0  # shells over which the filter falls


def correlation_with_truth(fsc: Float[np.ndarray, "shells"]) -> Float[np.ndarray, "shells"]:
    """Return C = √(2 FSC / (1 + FSC)), 0 where the FSC is below 0."""
    positive = np.clip(np.asarray(fsc, np.float64), 0, 1)
    return np.sqrt(2 * positive / (1 + positive))


def guinier_b_factor(
    volume: Float[np.ndarray, "n n n"], fsc: Float[np.ndarray, "shells"], pixel_size: float, finest: float
) -> float | None:
    """Return the B-factor in Å² that levels the amplitudes of a map, below 0 as a rule; None where too few shells tell.

    Parameters
    ----------
    volume : the mean of the half-maps, not filtered.
    fsc : of the half-maps, (n // 2,).
    pixel_size : Å.
    finest : Å, the resolution.
    """
    n, count = len(volume), len(fsc)
    weight = np.broadcast_to(hermitian_weight(n), shell_index(n).shape)
    shell = shell_index(n).ravel()
    total = np.bincount(shell, (np.abs(np.fft.rfftn(volume)) * weight).ravel(), count + 1)[:count]
    amplitude = total / np.maximum(np.bincount(shell, weight.ravel(), count + 1)[:count], 1)
    frequency = np.maximum(np.arange(count) - 0.5, 0) / (n * pixel_size)  # shell i holds i - 1 to i
    level = amplitude * correlation_with_truth(fsc)
    used = (frequency >= 1 / COARSEST) & (frequency <= 1 / finest) & (level > 0)
    if used.sum() < FEWEST:
        return None
    slope, _ = np.polyfit(frequency[used] ** 2, np.log(level[used]), 1)
    return float(4 * slope)


def sharpened(
    volume: Float[np.ndarray, "n n n"],
    fsc: Float[np.ndarray, "shells"],
    pixel_size: float,
    b_factor: float,
    finest: float,
) -> Float[np.ndarray, "n n n"]:
    """Return a map weighted by its correlation with the truth, sharpened, and filtered to the resolution.

    Parameters
    ----------
    volume : the mean of the half-maps, not filtered.
    fsc : of the half-maps, (n // 2,).
    pixel_size : Å.
    b_factor : b, Å², below 0 to sharpen.
    finest : Å, the resolution.
    """
    n = len(volume)
    shells = np.linalg.norm(frequencies_3d(n), axis=-1) * n
    frequency = shells / (n * pixel_size)
    weight = np.interp(shells + 0.5, np.arange(len(fsc)), correlation_with_truth(fsc))
    beyond = np.clip((shells - n * pixel_size / finest) / EDGE, 0, 1)
    weight *= 0.5 * (1 + np.cos(np.pi * beyond)) * (shells < n // 2)
    weight *= np.exp(-b_factor * np.minimum(frequency, 0.5 / pixel_size) ** 2 / 4)
    return np.fft.irfftn(np.fft.rfftn(volume) * weight, s=volume.shape, axes=(0, 1, 2)).astype(np.float32)
