"""How a set of particle images is made: imaging, CTF and states, each option declared once; standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from libhetero.configuration import ABSENT, check_options, internal, number, option, refused
from libhetero.configuration.limits import (
    LEAST_PIXEL,
    MOST_BOX,
    MOST_CLASSES,
    MOST_DEFOCUS,
    MOST_DOSE,
    MOST_LENGTH,
    MOST_PIXEL,
    MOST_SEED,
    MOST_SIMULATED,
)

MICROMETRE, DEGREE = 1e4, math.pi / 180  # Å, radians
STEEPEST = 85.0  # degrees: of a tilt, at which ice is eleven times as thick
PRESENT = 0.5  # probability of each piece of an assembly, unless told


def _signal_to_noise(text: str) -> float | None:
    """Return a signal-to-noise ratio; None, no noise, for 0."""
    return number(text) or None


@dataclass(frozen=True)
class CTFSampling:
    """Where CTF parameters are drawn when no table is given: uniform between the limits.

    Parameters
    ----------
    voltage : kV.
    spherical_aberration : mm.
    amplitude_contrast : fraction.
    defocus : limits of the mean defocus, Å, underfocus positive.
    astigmatism_max : Å, defocus_u - defocus_v from 0 to this, at any angle.
    """

    voltage: float = internal(300.0, "kV", above=0, most=10_000)
    spherical_aberration: float = internal(2.7, "mm", least=0, most=100)
    amplitude_contrast: float = internal(0.1, "fraction", least=0, most=1)
    defocus: tuple[float, float] = option(
        (5000.0, 25000.0),
        "--defocus",
        count=2,
        scale=MICROMETRE,
        metavar=("LOW", "HIGH"),
        least=-MOST_DEFOCUS,
        most=MOST_DEFOCUS,
        check=lambda limits: None if limits[0] <= limits[1] else "the lower defocus first",
        help="range of defocus in µm, underfocus positive",
    )
    astigmatism_max: float = internal(500.0, "largest difference of the two defoci, Å", least=0, most=MOST_DEFOCUS)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class NuisanceConfig:
    """What real data have besides white noise; everything is off by default.

    Where the list tells a wrong value, the image has the right one, and the truth knows it. `nuisances` says how each
    is drawn.

    Parameters
    ----------
    pose_error : radians, root mean square of the angle between the listed rotation and the right one.
    shift_error : Å, standard deviation of the listed shift along x, and along y.
    defocus_error : Å, standard deviation of the listed defocus.
    contrast_sd : standard deviation of the factor of each particle's signal, whose mean is 1.
    noise_sd : standard deviation of the logarithm of the factor of each image's noise, whose mean square is 1.
    noise_colour : power of the noise at low frequency ÷ that at Nyquist; 1 for white.
    junk : probability that an image holds noise alone.
    micrographs : number of micrographs, each of one defocus and one thickness of ice; None for particles that have
        nothing in common.
    views : concentration κ of the directions of view about the model's z axis; 0 for uniform ones.
    """

    pose_error: float = option(
        0.0,
        "--pose_error",
        least=0,
        most=math.pi / 3,
        scale=DEGREE,
        metavar="DEGREES",
        help="listed rotations are off by a turn about a random axis, of this angle in degrees (root mean square "
        "over particles; each component of the rotation vector is normal, of 1/√3 of it)",
        shown_default="0",
    )
    shift_error: float = option(
        0.0,
        "--shift_error",
        least=0,
        most=MOST_LENGTH,
        metavar="Å",
        help="listed shifts are off by this, standard deviation along x and along y",
    )
    defocus_error: float = option(
        0.0,
        "--defocus_error",
        least=0,
        most=MOST_DEFOCUS,
        metavar="Å",
        help="listed defoci are off by this, standard deviation; astigmatism is right",
    )
    contrast_sd: float = option(
        0.0,
        "--contrast_sd",
        least=0,
        most=0.5,
        metavar="X",
        help="each particle's signal is multiplied by α ~ N(1, X), drawn within 0.05 and 1.95",
    )
    noise_sd: float = option(
        0.0,
        "--noise_sd",
        least=0,
        most=1,
        metavar="X",
        help="each image's noise is multiplied by b, log-normal of X with mean square 1, as where ice differs in "
        "thickness",
    )
    noise_colour: float = option(
        1.0,
        "--noise_colour",
        least=1,
        most=1e4,
        metavar="X",
        help="power of the noise at low frequency ÷ that at Nyquist of --box, falling smoothly; the variance stays "
        "that of --snr",
    )
    junk: float = option(0.0, "--junk", least=0, most=1, metavar="X", help="fraction of images that hold noise alone")
    micrographs: int | None = option(
        None,
        "--micrographs",
        least=1,
        most=MOST_SIMULATED,
        metavar="N",
        help="particles are spread over N micrographs; those of one share the defocus but for 100 Å, and the ice: "
        "a common factor of the signal and one of the noise, each within about 10 %",
        shown_default="no",
    )
    views: float = option(
        0.0,
        "--views",
        least=0,
        most=1000,
        metavar="X",
        help="concentration of the directions of view about the model's z axis (von Mises-Fisher); 0 for uniform",
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def any(self) -> bool:
        """Whether anything is on."""
        return self != NuisanceConfig()


@dataclass(frozen=True)
class TiltConfig:
    """A tilt series: images of one particle, the stage turned further for each.

    Parameters
    ----------
    first, last, step : degrees, of the stage; `last` is one of the tilts where whole steps lead there.
    dose : e⁻/Å², of each image.
    """

    first: float = internal(help="degrees", least=-STEEPEST, most=STEEPEST)
    last: float = internal(help="degrees", least=-STEEPEST, most=STEEPEST)
    step: float = internal(help="degrees", above=0, most=2 * STEEPEST)
    dose: float = internal(help="e⁻/Å² of each image", least=0, most=MOST_DOSE)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def count(self) -> int:
        """Number of tilts."""
        return math.floor((self.last - self.first) / self.step + 1e-6) + 1

    @property
    def angles(self) -> tuple[float, ...]:
        """Tilts in the order in which they are taken, degrees: dose-symmetric, 0, 3, -3, -6, 6, 9, -9 ….

        It is the order of Hagen, Wan and Briggs (J. Struct. Biol. 197 (2017) 191): the least tilted first, each
        direction in turn twice.
        """
        grid = [round(self.first + k * self.step, 6) for k in range(self.count)]
        sizes = sorted({abs(angle) for angle in grid})
        level = {size: place + (sizes[0] > 0) for place, size in enumerate(sizes)}
        return tuple(sorted(grid, key=lambda angle: (abs(angle), (angle < 0) == (level[abs(angle)] % 2 == 1))))


@dataclass(frozen=True)
class ImagingConfig:
    """How a set of particle images is made.

    Parameters
    ----------
    particles : number of particles, each of one image, or of one at each tilt.
    box_size : pixels (even), at which signal and noise are made.
    pixel_size : Å.
    snr : signal variance ÷ noise variance per pixel at `box_size`, of untilted images before any exposure; None for
        no noise.
    seed : of poses, states, CTF and noise.
    crop : pixels (even), box after Fourier cropping; None to keep `box_size`.
    max_shift : Å, shifts uniform in ± this along x and y; None for 5 % of the box.
    ctf : how the CTF is drawn; None for no CTF.
    contrast : 1 protein white, -1 protein dark.
    nuisances : what real data have besides.
    tilts : the tilt series that is taken of each particle; None for one image.
    """

    particles: int = option(ABSENT, "--n", least=1, most=MOST_SIMULATED, metavar="N", help="number of particles")
    box_size: int = option(ABSENT, "--box", least=8, most=MOST_BOX, even=True, metavar="N", help="box size in pixels")
    pixel_size: float = option(
        ABSENT, "--apix", metavar="Å", least=LEAST_PIXEL, most=MOST_PIXEL, help="pixel size, at --box"
    )
    snr: float | None = option(
        0.1,
        "--snr",
        above=0,
        most=1e9,
        parse=_signal_to_noise,
        metavar="X",
        help="signal variance ÷ noise variance, per pixel at --box; 0 for no noise",
    )
    seed: int = option(0, "--seed", least=0, most=MOST_SEED, metavar="N", help="same seed, same set")
    crop: int | None = option(
        None,
        "--crop",
        least=8,
        most=MOST_BOX,
        even=True,
        metavar="N",
        help="Fourier-crop the images to this box in pixels",
        shown_default="no",
    )
    max_shift: float | None = option(
        None,
        "--shift",
        least=0,
        most=MOST_LENGTH,
        metavar="Å",
        help="largest shift along x and y",
        shown_default="5 % of the box",
    )
    ctf: CTFSampling | None = internal(CTFSampling, "how the CTF is drawn")
    contrast: int = option(
        1,
        constants={"--dark": (-1, "dark protein, as in raw micrographs")},
        check=lambda sign: None if sign in (1, -1) else "1 or -1",
        help="sign of the protein's density",
    )
    nuisances: NuisanceConfig = internal(NuisanceConfig, "what real data have besides white noise")
    tilts: TiltConfig | None = internal(None, "the tilt series of each particle")

    def __post_init__(self) -> None:
        check_options(self)
        each = self.images_each
        if self.images > MOST_SIMULATED:
            raise refused(self, "particles", f"at most {MOST_SIMULATED // each}, of {each} tilts each")
        if self.crop is not None and self.crop > self.box_size:
            raise refused(self, "crop", f"at most the box of {self.box_size} pixels")

    @property
    def images_each(self) -> int:
        """Number of images of each particle."""
        return 1 if self.tilts is None else self.tilts.count

    @property
    def images(self) -> int:
        """Number of images of the set."""
        return self.particles * self.images_each

    @property
    def final_box(self) -> int:
        """Box size of the images as written, pixels."""
        return self.crop or self.box_size

    @property
    def final_pixel_size(self) -> float:
        """Pixel size of the images as written, Å."""
        return self.pixel_size * self.box_size / self.final_box


@dataclass(frozen=True)
class StateConfig:
    """How states are drawn. The core, body 0, is always present and never moves.

    Parameters
    ----------
    probability : with which each other body is present, independently.
    max_angle : radians; each other body turns by an angle uniform in ± this, independently.
    moving : bodies that turn; the others do not, and those that turn are always present. Empty for all to do both.
    """

    probability: float = option(
        1.0, "--probability", least=0, most=1, metavar="X", help="of each piece, for an assembly"
    )
    max_angle: float = option(
        0.0,
        "--angle",
        least=0,
        most=math.pi,
        scale=DEGREE,
        metavar="DEGREES",
        help="largest angle in degrees, for a motion or --moving",
    )
    moving: tuple[int, ...] = option(
        (),
        "--moving",
        count="+",
        least=1,
        most=MOST_CLASSES,
        metavar="K",
        help="pieces of an assembly, by number from 1, that turn instead of coming and going; or structures of a "
        "mixture, by number from 1, that move: each is cut in a core and --pieces others, which turn",
        shown_default="none",
    )

    def __post_init__(self) -> None:
        check_options(self)
