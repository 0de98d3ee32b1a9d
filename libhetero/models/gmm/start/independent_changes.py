"""How many independent changes of a molecule its particles can tell.

A density within a volume V (of one asymmetric unit, of which the molecule has c) has, in the shell from s to s' of
reciprocal space,

    M = (4/3) π V (s'³ - s³)

independent numbers. By all N particles together the signal of each is S times as strong as its noise; by half-maps,

    S = C / (1 - C) · (noise power of the box) / (that inside the molecule),

C the reliability of the shell (`map_support.reliability`): noise fills what the map's mask leaves, the signal the
molecule alone. One particle is a central section, which shows of these numbers the share

    f = A / (2 V s),     A the area of a projection, that of a sphere of the molecule's volume

(2 π A s ds numbers of a projection, for 4 π V s² ds), all where f > 1. By images,

    S = N f · L² / A · (signal ÷ noise of a Fourier pixel in the ring s),     L the width of an image:

L² / A Fourier pixels are one number of the projection. What is there in half of the particles varies by a fourth of
its signal in each that shows it, S / (4 N f) in units of its noise. A variance is found from N f particles to
√(2 / (N f)), so that this one is

    √Q,     Q = N f (S / (4 N f))² / 2 = S² / (32 N f)

standard deviations above none. Nobody says which particles hold what: a change must show as variance, as here. And
nobody says which numbers change: of K numbers without a change the largest shows at about √(2 ln K) standard
deviations. A number counts by half where it shows as that does, of as many as count (at two standard deviations at
least), and their sum,

    K = Σ_s M_s Q_s / (Q_s + 2 ln K),

is how many Gaussians can change independently of each other as far as these particles tell. It grows with their
number, with their signal-to-noise ratio, and with the molecule.

References
----------
Donoho & Johnstone, Biometrika 81 (1994) 425: √(2 ln K), below which all of K numbers of noise lie.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

SHOWN = 4.0  # Q of what counts by half, of few: two standard deviations
ROUNDS = 50  # of the module's last equation, whose right side hardly changes with K
USUAL_RATIO = 0.1  # signal-to-noise ratio of a pixel, and number of particles, where they are not known
USUAL_COUNT = 10_000
USUAL_DEFOCUS = 5e3, 25e3  # Å, of those
WAVELENGTH, AMPLITUDE_CONTRAST = 0.0197, 0.1  # Å, at 300 kV
MOST_RATIO = 1e6  # S of a shell without noise


@dataclass(frozen=True, eq=False)
class ParticleInformation:
    """What the particles tell of a molecule, shell by shell.

    Parameters
    ----------
    ratio : (n // 2,), S of the module's equations, 0 where nothing is trusted.
    particles : N.
    source : where these come from, in words.
    measured : False where S is what usual images would give.
    """

    ratio: Float[np.ndarray, "shells"]
    particles: float
    source: str = ""
    measured: bool = True


@dataclass(frozen=True)
class Extent:
    """How large a molecule and its box are.

    Parameters
    ----------
    volume : of the molecule, all its units, Å³.
    box : width, Å.
    copies : units, which change alike.
    """

    volume: float
    box: float
    copies: int = 1

    @property
    def area(self) -> float:
        """Area of a projection, Å²."""
        return float(np.pi * (0.75 * self.volume / np.pi) ** (2 / 3))

    def numbers(self, shells: int) -> Float[np.ndarray, "shells"]:
        """Return M of each shell."""
        end = np.arange(shells) / self.box
        return self.volume / self.copies * 4 / 3 * np.pi * (end**3 - np.maximum(end - 1 / self.box, 0) ** 3)

    def shown(self, shells: int) -> Float[np.ndarray, "shells"]:
        """Return f of each shell, above 1 where all particles show more numbers than there are."""
        middle = np.maximum(np.arange(shells) - 0.5, 0.5) / self.box
        return self.copies * self.area / (2 * self.volume * middle)


def independent_changes(information: ParticleInformation, extent: Extent) -> float:
    """Return the module's sum."""
    shells = len(information.ratio)
    seen = information.particles * np.minimum(extent.shown(shells), 1.0)
    variance = information.ratio**2 / (32 * seen)
    numbers, level = extent.numbers(shells), SHOWN
    for _ in range(ROUNDS):
        count = float(np.sum(numbers * variance / (variance + level)))
        level = max(SHOWN, 2 * np.log(max(count, 1.0)))
    return count


def by_half_maps(
    trust: Float[np.ndarray, "shells"],
    half_maps: tuple[Float[np.ndarray, "n n n"], Float[np.ndarray, "n n n"]],
    inside: Bool[np.ndarray, "n n n"],
    extent: Extent,
    particles: int | None,
) -> ParticleInformation | None:
    """Return what a map's half-maps say of its particles; None where they hold no noise.

    Parameters
    ----------
    trust : C of each shell.
    half_maps : of half of the particles each.
    inside : voxels of the molecule.
    extent : of the molecule.
    particles : in the map; None for as many as tell as much by images of the map's box with an SNR of 0.1 a pixel.
    """
    noise = (np.asarray(half_maps[0], np.float64) - half_maps[1]) ** 2
    if not noise[inside].sum() > 0:
        return None
    trust = np.asarray(trust, np.float64)
    ratio = np.minimum(trust / np.maximum(1 - trust, 1 / MOST_RATIO), MOST_RATIO) * noise.sum() / noise[inside].sum()
    ratio[:2] = 0  # shell 0 is empty and 1 holds the mean alone
    if particles is not None:
        return ParticleInformation(ratio, float(particles), "by the half-maps")
    one_image = USUAL_RATIO * len(inside) ** 2
    count = max(float(np.sum(extent.numbers(len(ratio)) * ratio)) / one_image, 1.0)
    source = f"by the half-maps; their number, which --particles would tell, taken for images of SNR {USUAL_RATIO:g}"
    return ParticleInformation(ratio, count, source)


def by_images(signal: Float[np.ndarray, "shells"], extent: Extent, particles: int, width: float) -> ParticleInformation:
    """Return what images say of their particles.

    Parameters
    ----------
    signal : signal over noise of a Fourier pixel, at the frequencies of the map's shells.
    extent : of the molecule, and of the map.
    particles : images.
    width : of an image, Å.
    """
    ratio = particles * extent.shown(len(signal)) * width**2 / extent.area * signal
    ratio[:2] = 0
    return ParticleInformation(ratio, float(particles), "by their images")


def by_usual_images(power: Float[np.ndarray, "shells"], extent: Extent, particles: int | None) -> ParticleInformation:
    """Return what usual images of a molecule would say: at 300 kV, 0.5 to 2.5 µm, with white noise, SNR 0.1 a pixel.

    Parameters
    ----------
    power : |F|² of the molecule's voxels, shell by shell.
    extent : of the molecule.
    particles : images; None for 10,000.
    """
    ring = np.arange(len(power)) / extent.box
    defocus = np.linspace(*USUAL_DEFOCUS, 50)[:, None]
    phase = np.pi * WAVELENGTH * defocus * ring**2 + np.arcsin(AMPLITUDE_CONTRAST)
    seen = np.asarray(power, np.float64) * np.mean(np.sin(phase) ** 2, axis=0)
    seen[:2] = 0
    pixels = 2 * np.pi * np.arange(len(power))
    signal = USUAL_RATIO * seen * (2 * len(power)) ** 2 / max(float(np.sum(pixels * seen)), 1e-300)
    source = f"if their images have an SNR of {USUAL_RATIO:g}; half-maps or --particles would tell"
    found = by_images(signal, extent, USUAL_COUNT if particles is None else particles, extent.box)
    return replace(found, source=source, measured=False)
