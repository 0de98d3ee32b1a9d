"""How many independent changes of a molecule its particles can tell.

A density within a volume V (of one asymmetric unit) has, in the shell from s to s' of reciprocal space,

    M = V (4/3) π (s'³ - s³)

independent numbers. By a map of N particles the signal of each is S times as strong as its noise,

    S = C / (1 - C) · (noise power of the box) / (that inside the molecule)

C the reliability of the shell (`map_support.reliability`): noise fills what the map's mask leaves, the signal
the molecule alone. One particle is one central section, which shows of these numbers the share

    f = min(1, copies · 3 A / (4 V s))

(π A s² numbers of a projection of area A, that of a sphere of the molecule's volume, for the (4/3) π V s³ of the
whole), each with the signal-to-noise ratio ρ = S / (N f). What is there in half of the particles varies by ρ / 4,
in units of its noise. Over the N f particles that show it, a variance is found to √(2 / (N f)), so that this one is

    √Q,     Q = N f (ρ / 4)² / 2 = S² / (32 N f)

standard deviations above none. Nobody says which particles hold what: a change must show as variance, as here. A
number counts by half where it shows at two standard deviations, and their sum,

    Σ_s M_s Q_s / (Q_s + 4),

is how many Gaussians can change independently of each other as far as these particles tell. It grows with their
number, with their signal-to-noise ratio, and with the molecule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

SHOWN = 4.0  # Q of what counts by half: two standard deviations
USUAL_RATIO = 0.1  # signal-to-noise ratio of a pixel, where the number of particles is not known
MOST_RATIO = 1e6  # S of a shell without noise


@dataclass(frozen=True, eq=False)
class ParticleInformation:
    """What the particles behind a map tell, shell by shell.

    Parameters
    ----------
    ratio : (n // 2,), S of the module's equations, 0 where the map is not trusted.
    particles : N.
    known : False where N is what images of the usual signal-to-noise ratio would be.
    """

    ratio: Float[np.ndarray, "shells"]
    particles: float
    known: bool = True


def information_of(
    trust: Float[np.ndarray, "shells"],
    half_maps: tuple[Float[np.ndarray, "n n n"], Float[np.ndarray, "n n n"]],
    inside: Bool[np.ndarray, "n n n"],
    particles: int | None,
) -> ParticleInformation | None:
    """Return what a map's half-maps say of its particles; None where they hold no noise.

    Parameters
    ----------
    trust : C of each shell.
    half_maps : of half of the particles each.
    inside : voxels of the molecule.
    particles : in the map; None for as many as would have the same information at a signal-to-noise ratio of 0.1 a
        pixel.
    """
    noise = (np.asarray(half_maps[0], np.float64) - half_maps[1]) ** 2
    if not noise[inside].sum() > 0:
        return None
    trust = np.asarray(trust, np.float64)
    overall = np.minimum(trust / np.maximum(1 - trust, 1 / MOST_RATIO), MOST_RATIO)
    overall[:2] = 0  # shell 0 is empty and 1 holds the mean alone
    if particles is None:
        n = len(inside)
        voxels = 4 * np.pi * (np.arange(n // 2) - 0.5) ** 2
        images = max(float(np.sum(voxels * overall)) / (USUAL_RATIO * n**2), 1.0)
        return ParticleInformation(_local(overall, noise, inside), images, known=False)
    return ParticleInformation(_local(overall, noise, inside), float(particles))


def _local(ratio: np.ndarray, noise: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return ratio * noise.sum() / noise[inside].sum()


def independent_changes(information: ParticleInformation, volume: float, extent: float, copies: int = 1) -> float:
    """Return the module's sum.

    Parameters
    ----------
    information : of the particles.
    volume : of the molecule, all its units, Å³.
    extent : of the map's box, Å.
    copies : units, which change alike.
    """
    end = np.arange(len(information.ratio)) / extent
    begin = np.maximum(end - 1 / extent, 0)
    numbers = volume / copies * 4 / 3 * np.pi * (end**3 - begin**3)
    area = np.pi * (0.75 * volume / np.pi) ** (2 / 3)
    middle = np.maximum((begin + end) / 2, 1e-12)
    shown = np.minimum(copies * 0.75 * area / (volume * middle), 1.0)
    variance = information.ratio**2 / (32 * information.particles * shown)
    return float(np.sum(numbers * variance / (variance + SHOWN)))
