"""Configuration of the Gaussian mixture model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from libhetero.configuration import check_options, internal, option, refused
from libhetero.configuration.limits import MOST_GAUSSIANS, MOST_LATENTS, MOST_LENGTH, MOST_WEIGHT, MOST_WIDTH
from libhetero.models.gmm.decoder import DECODERS
from libhetero.models.gmm.layout import LETTERS, Layout
from libhetero.models.options import MODEL, contrast_option, poses_option, precision_option, unknown_preset
from libhetero.point_groups import expected_group

SUBSPACE_SAMPLE = 4096  # particles that the subspace is measured on
SAMPLE_BYTES = 2**28  # of those whose full images are held; of the others the low rings are (`further`)
IMAGES_OF_SERIES = 4  # times as many images as of single particles, where each has several
RATE_OF_PRESENCE = 2e-3
AUTO = "auto"  # the particles decide


def varied_letters(text: str) -> str:
    """Return the letters of "pas" whose digit in EMAN2's "110" is 1; letters and auto stay as they are.

    Raises
    ------
    ValueError : saying what was expected.
    """
    if text == AUTO or (text and not set(text) - set(LETTERS)):
        return text
    if len(text) != 3 or set(text) - set("01"):
        raise ValueError("expected three of 0 and 1 for position, amplitude and sigma, such as 110, or auto")
    return "".join(letter for letter, digit in zip(LETTERS, text, strict=True) if digit == "1")


def _expected_letters(vary: str) -> str | None:
    distinct = vary == AUTO or vary and not set(vary) - set(LETTERS) and len(set(vary)) == len(vary)
    return None if distinct else "auto, or letters of 'pas' (position, amplitude, sigma), each at most once"


def _expected_levels(points: tuple[int, ...]) -> str | None:
    if not points:
        return "at least one level"
    ascending = all(a < b for a, b in zip(points, points[1:], strict=False))
    return None if ascending else "levels from coarse to fine"


def _expected_limits(resolution: tuple[float, float]) -> str | None:
    if len(resolution) == 2:
        low, high = resolution
        if min(low, high) >= 0 and (low > high or 0 in (low, high)):
            return None
    return "low and high in Å, low the larger number, 0 for the widest"


@dataclass(frozen=True)
class GmmConfig:
    """Sizes and switches of the Gaussian mixture model."""

    RETIRED: ClassVar[dict[str, Any]] = {"smoothness": 0.0}

    decoder: str = option(
        "pointtransformer",
        "--decoder",
        constants={"--pointtransformer": ("pointtransformer", "Gaussians with the Point Transformer decoder")},
        choices=tuple(DECODERS),
        group=MODEL,
        help="Gaussians with this decoder",
        shown_default="",
    )
    architecture: str = option(
        "revised",
        choices=("revised", "published"),
        help="of the Point Transformer: revised (`point_transformer`), or published, to the letter (`published`)",
    )
    encoder: str = option(
        "posterior",
        "--encoder",
        choices=("posterior", "network"),
        group=MODEL,
        help="Gaussians: solve for each particle's latent, or a network as published",
    )
    latent_size: int = option(
        0,
        "--nmid",
        least=0,
        most=MOST_LATENTS,
        metavar="N",
        group=MODEL,
        help="latent numbers a particle, Gaussians; 0 for as many directions as stand out of the noise, or none",
        shown_default="as many as the set shows",
    )
    inference_steps: int = option(
        0,
        least=0,
        most=100,
        help="Gauss-Newton steps of the posterior; 0 for 6 where positions vary, coarse to fine, else 2",
    )
    encoder_width: int = option(
        512, least=1, most=MOST_WIDTH, help="units in each of the encoder's three hidden layers"
    )
    mlp_width: int = option(
        512, least=1, most=MOST_WIDTH, help="units in each of the MLP decoder's three hidden layers"
    )
    points: tuple[int, ...] = option(
        (64, 256, 1024),
        least=1,
        most=MOST_GAUSSIANS,
        check=_expected_levels,
        help="Gaussians chosen at each level of the hierarchy, coarse to fine; a level with more points than there are "
        "Gaussians takes them all",
    )
    neighbours: int = option(16, least=1, most=MOST_WIDTH, help="points that each point attends to")
    channels: int = option(128, least=1, most=MOST_WIDTH, help="features carried by a point")
    attention_channels: int = option(128, least=1, most=MOST_WIDTH, help="width of queries, keys and values")
    attention_groups: int = option(
        16,
        least=0,
        most=MOST_WIDTH,
        help="channels that share one attention weight come in this many groups; 0 gives every channel its own weight, "
        "as published",
    )
    interpolation: int = option(8, least=1, most=MOST_WIDTH, help="coarse points that a finer one is interpolated from")
    interpolation_weights: str = option(
        "spacing",
        choices=("spacing", "published"),
        help="spacing, falling off over the local spacing of the coarse points, or published, exp(-50 d²) with d in "
        "units of the box, which is nearly uniform",
    )
    dropout: float = option(
        0.0, least=0, below=1, help="fraction of the attention's outputs (MLP: of hidden units) dropped in training"
    )
    normalise: bool = option(True, help="layer normalisation before each attention (the published model has none)")
    loss: str = option(
        "likelihood",
        choices=("likelihood", "frc"),
        help="likelihood, the squared error over the noise power of each ring, which keeps the scale of the density; "
        "frc, minus the mean Fourier ring correlation, as published, in which a factor of all amplitudes is free",
    )
    vary: str = option(
        AUTO,
        "--pas",
        parse=varied_letters,
        check=_expected_letters,
        metavar="110",
        group=MODEL,
        help="Gaussians: what of them varies, a digit each for position, amplitude and sigma (width), 1 or 0, as of "
        "EMAN2; 110 lets them move, come and go; auto varies what the particles show to move or to come and go",
    )
    displacement_scale: float = option(
        10.0, least=0, most=MOST_LENGTH, help="Å of motion for one unit of decoder output"
    )
    stiffness: float = option(
        0.05,
        "--stiffness",
        least=0,
        most=MOST_WEIGHT,
        metavar="X",
        group=MODEL,
        help="against strain between Gaussians that move, Gaussians",
    )
    latent_noise: float = option(
        0.01, least=0, most=MOST_WEIGHT, help="standard deviation of the noise added to latents in training"
    )
    latent_penalty: float = option(0.1, least=0, most=MOST_WEIGHT, help="weight of mean(max(|z| - 1, 0))")
    resolution: tuple[float, float] = option(
        (0.0, 0.0),
        check=_expected_limits,
        least=0,
        most=MOST_LENGTH,
        help="low and high limits of the rings compared, Å; 0 takes the widest. --minres and --maxres set it",
    )
    symmetry: str = option(
        "c1",
        "--sym",
        parse=str.lower,
        check=expected_group,
        metavar="GROUP",
        group=MODEL,
        help="c4, d2, o …: the Gaussians are one unit, and all units change alike",
    )
    particle_contrast: str = contrast_option()
    refine_poses: bool = poses_option()
    precision: str = precision_option()
    decided: tuple[str, ...] | None = internal(
        None,
        "fields that were left to the particles and hold what these decided; None where that is not known",
        choices=("vary", "latent_size"),
    )

    def __post_init__(self) -> None:
        check_options(self)
        object.__setattr__(self, "symmetry", self.symmetry.lower())
        if self.encoder == "network" and self.vary == AUTO:  # nothing is searched for: everything varies
            object.__setattr__(self, "vary", LETTERS)
        if self.architecture == "published" and self.attention_groups:
            raise refused(self, "attention_groups", "0 in the published architecture")
        if self.attention_groups and self.attention_channels % self.attention_groups:
            raise refused(self, "attention_groups", f"a divisor of attention_channels ({self.attention_channels})")
        if self.encoder == "posterior" and not self.linear_kinds:
            raise refused(self, "vary", "'p' or 'a' among them, or --encoder network")
        if self.encoder == "network" and self.refine_poses:
            raise refused(self, "refine_poses", "a latent that is solved for, --encoder posterior")
        if self.encoder == "network" and not self.latent_size:
            raise refused(self, "latent_size", "1 or more with --encoder network")

    @property
    def newton_steps(self) -> int:
        """Gauss-Newton steps of the posterior; images are far from linear in positions."""
        return self.inference_steps or self.layout.newton_steps

    @property
    def layout(self) -> Layout:
        """What of a Gaussian varies, or may vary where the particles have yet to decide."""
        return Layout.of("pa" if self.vary == AUTO else self.vary)

    @property
    def linear_kinds(self) -> str:
        """Letters of `vary` whose effect on the image is linear to first order and is solved for."""
        return self.layout.linear.letters

    def settled(self, stored: GmmConfig) -> GmmConfig:
        """Return the same with what a run's particles have settled: what varies, and in how many directions."""
        vary = stored.vary if self.vary == AUTO else self.vary
        latent_size = self.latent_size or stored.latent_size
        return replace(self, vary=vary, latent_size=latent_size, decided=stored.decided)

    def as_asked(self) -> GmmConfig:
        """Return the same with what the particles have decided left to them again."""
        decided = self.decided or ()
        vary = AUTO if "vary" in decided else self.vary
        latent_size = 0 if "latent_size" in decided else self.latent_size
        return replace(self, vary=vary, latent_size=latent_size, decided=None)

    def training_defaults(self) -> dict[str, Any]:
        """Return the training's fields that differ: a higher rate where Gaussians come and go and do not move.

        Eight epochs then find borders of pieces as 16 do at half the rate (docs/history.md); motions were not tried.
        """
        alone = self.encoder == "posterior" and "p" not in self.vary and self.vary != AUTO
        return {"learning_rate": RATE_OF_PRESENCE} if alone else {}

    @property
    def takes_series(self) -> bool:
        """Whether images of one particle have one latent; an encoder network reads one image."""
        return self.encoder == "posterior"

    def sample_size(self, box_size: int, usual: int, views: int) -> int:
        """Return how many particles the model's statistics are measured on: more for a subspace of latents.

        Parameters
        ----------
        box_size : of the images, pixels.
        usual : for means and spectra.
        views : images of each particle; where it has several, up to `IMAGES_OF_SERIES` times as many in all.
        """
        most = usual
        if self.encoder == "posterior":
            most = max(usual, min(SUBSPACE_SAMPLE, SAMPLE_BYTES // (4 * box_size**2)))
        return max(min(most, IMAGES_OF_SERIES * most // views), 1)

    def further_size(self, box_size: int, usual: int, views: int) -> int:
        """Return how many particles the search for what changes takes besides, of which it keeps the low rings alone.

        Parameters
        ----------
        box_size, usual, views : as of `sample_size`.
        """
        if self.encoder != "posterior":
            return 0
        most = max(usual, SUBSPACE_SAMPLE)
        searched = max(min(most, IMAGES_OF_SERIES * most // views), 1)
        return searched - self.sample_size(box_size, usual, views)

    @classmethod
    def preset(cls, name: str) -> GmmConfig:
        """Return "small" (two CPU cores), "default" or "paper" (the published sizes).

        Raises
        ------
        ConfigurationError : for another name.
        """
        if name == "small":
            return cls(
                encoder_width=256,
                mlp_width=256,
                points=(16, 64, 128),
                neighbours=8,
                channels=64,
                attention_channels=64,
                attention_groups=8,
                normalise=False,
            )
        if name == "default":
            return cls()
        if name == "paper":
            return cls(
                encoder="network",
                latent_size=3,
                channels=256,
                attention_channels=512,
                attention_groups=0,
                normalise=False,
                loss="frc",
                stiffness=0.0,
                architecture="published",
                interpolation_weights="published",
                dropout=0.2,
                particle_contrast="none",
            )
        raise unknown_preset(name)
