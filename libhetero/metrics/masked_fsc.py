"""FSC of half-maps within a mask, with what the mask itself brings about taken off.

A mask correlates two maps, as it multiplies both: of the FSC with the mask, FSC_t, some is its own. To find how much,
the phases of both half-maps are replaced by random ones beyond the shell where the FSC without a mask falls below 0.8,
the same mask is applied, and what correlates then, FSC_n, is due to it:

    FSC = (FSC_t - FSC_n) / (1 - FSC_n)      from two shells beyond that one on;      FSC = FSC_t before.

References
----------
Chen et al., Ultramicroscopy 135 (2013) 24. The thresholds are those of RELION's postprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from libhetero.metrics.fsc import masked_fsc
from libhetero.physics.correlation import shell_index

RANDOM_BELOW = 0.8  # of the FSC without a mask
SPARED = 2  # shells beyond the first random one, whose signal leaks across


@dataclass(frozen=True, eq=False)
class MaskedFsc:
    """Correlations of two half-maps, (n // 2,) each.

    Parameters
    ----------
    masked : with the mask, FSC_t.
    random : with the mask and random phases, FSC_n; 0 where phases were never replaced.
    corrected : what is left of `masked`.
    shell : the first with random phases; None where the FSC never falls below 0.8.
    """

    masked: Float[np.ndarray, "shells"]
    random: Float[np.ndarray, "shells"]
    corrected: Float[np.ndarray, "shells"]
    shell: int | None


def corrected_fsc(
    half_maps: Float[np.ndarray, "2 n n n"],
    mask: Float[np.ndarray, "n n n"],
    unmasked: Float[np.ndarray, "shells"],
    seed: int = 0,
) -> MaskedFsc:
    """Return the correlations of half-maps within a mask.

    Parameters
    ----------
    half_maps : not filtered.
    mask : values 0 to 1.
    unmasked : the FSC of the half-maps as they are.
    seed : of the random phases.
    """
    scale = np.float32(1 / (np.abs(half_maps).max() or 1.0))  # float32 squares the grey scale twice
    first, second = half_maps * scale
    masked = masked_fsc(first, second, mask)
    below = np.flatnonzero(unmasked < RANDOM_BELOW)
    if len(below) == 0:
        return MaskedFsc(masked, np.zeros_like(masked), masked, None)
    shell = int(below[0])
    source = np.random.default_rng(seed)
    random = masked_fsc(with_random_phases(first, shell, source), with_random_phases(second, shell, source), mask)
    changed = np.arange(len(masked)) >= shell + SPARED
    rest = np.where(changed & (random < 1), (masked - random) / np.where(random < 1, 1 - random, 1), masked)
    return MaskedFsc(masked, random, rest.astype(masked.dtype), shell)


def with_random_phases(
    volume: Float[np.ndarray, "n n n"], shell: int, source: np.random.Generator
) -> Float[np.ndarray, "n n n"]:
    """Return a map with the same amplitudes, and phases of white noise from a shell on."""
    n = len(volume)
    fourier = np.fft.rfftn(volume)
    noise = np.fft.rfftn(source.normal(size=volume.shape))  # of a real map, so that k and -k agree
    phases = noise / np.maximum(np.abs(noise), 1e-30)
    fourier = np.where(shell_index(n) >= shell, np.abs(fourier) * phases, fourier)
    return np.fft.irfftn(fourier, s=volume.shape, axes=(0, 1, 2)).astype(np.float32)
