"""Configuration of the Gaussian mixture model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from libhetero.errors import ConfigurationError
from libhetero.models.gmm.decoder import DECODERS
from libhetero.models.gmm.layout import Layout
from libhetero.models.precision import PRECISIONS
from libhetero.physics.symmetry import symmetry_operators

ENCODERS = ("posterior", "network")
ARCHITECTURES = ("revised", "published")
INTERPOLATIONS = ("spacing", "published")
LOSSES = ("likelihood", "frc")


@dataclass(frozen=True)
class GmmConfig:
    """Sizes and switches of the Gaussian mixture model.

    Parameters
    ----------
    decoder : "pointtransformer" or "mlp".
    encoder : "posterior", each particle's latent is solved for; "network", as published.
    latent_size : numbers per particle; 0 for as many directions as stand out of the noise.
    inference_steps : Gauss-Newton steps of the posterior; 0 for 3 where positions vary, else 2.
    encoder_width : units in each of the encoder's three hidden layers.
    mlp_width : units in each of the MLP decoder's three hidden layers.
    points : Gaussians chosen at each level of the hierarchy, coarse to fine; a level
        with more points than there are Gaussians takes them all.
    neighbours : points that each point attends to.
    channels : features carried by a point.
    architecture : of the Point Transformer: "revised" (`point_transformer`), or "published", to the
        letter (`published`).
    attention_channels : width of queries, keys and values.
    attention_groups : channels that share one attention weight come in this many groups;
        0 gives every channel its own weight, as published.
    interpolation : coarse points that a finer one is interpolated from.
    interpolation_weights : "spacing", falling off over the local spacing of the coarse points, or
        "published", exp(-50 d²) with d in units of the box, which is nearly uniform.
    dropout : fraction of the attention's outputs (MLP: of hidden units) dropped in training.
    normalise : layer normalisation before each attention (the published model has none).
    loss : "likelihood", the squared error over the noise power of each ring, which keeps the
        scale of the density; "frc", minus the mean Fourier ring correlation, as published, in
        which a common factor of all amplitudes is free.
    vary : which of "p" (position), "a" (amplitude), "s" (width) the decoder changes.
    displacement_scale : Å of motion for one unit of decoder output.
    smoothness : weight of the amplitudes' roughness between neighbours, `changes.roughness`.
    stiffness : weight of the elastic network's strain in Å², `changes.strain`.
    latent_noise : standard deviation of the noise added to latents in training.
    latent_penalty : weight of mean(max(|z| - 1, 0)).
    resolution : (low, high) limits of the rings compared, Å; 0 takes the widest.
    symmetry : of the complex, "c4" …; the Gaussians are one asymmetric unit, and all units change alike.
    precision : "auto", "float32" or "bfloat16" operands of dense layers.
    """

    decoder: str = "pointtransformer"
    architecture: str = "revised"
    encoder: str = "posterior"
    latent_size: int = 0
    inference_steps: int = 0
    encoder_width: int = 512
    mlp_width: int = 512
    points: tuple[int, ...] = (64, 256, 1024)
    neighbours: int = 16
    channels: int = 128
    attention_channels: int = 128
    attention_groups: int = 16
    interpolation: int = 8
    interpolation_weights: str = "spacing"
    dropout: float = 0.0
    normalise: bool = True
    loss: str = "likelihood"
    vary: str = "pas"
    displacement_scale: float = 10.0
    smoothness: float = 0.0
    stiffness: float = 0.05
    latent_noise: float = 0.01
    latent_penalty: float = 0.1
    resolution: tuple[float, float] = (0.0, 0.0)
    symmetry: str = "c1"
    precision: str = "auto"

    def __post_init__(self) -> None:
        _require(self.decoder in DECODERS, "decoder", self.decoder, " or ".join(DECODERS))
        _require(self.encoder in ENCODERS, "encoder", self.encoder, " or ".join(ENCODERS))
        _require(self.architecture in ARCHITECTURES, "architecture", self.architecture, " or ".join(ARCHITECTURES))
        _require(
            self.architecture == "revised" or self.attention_groups == 0,
            "attention_groups",
            self.attention_groups,
            "0 in the published architecture",
        )
        _require(
            self.interpolation_weights in INTERPOLATIONS,
            "interpolation_weights",
            self.interpolation_weights,
            " or ".join(INTERPOLATIONS),
        )
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")
        _require(self.loss in LOSSES, "loss", self.loss, " or ".join(LOSSES))
        _require(self.precision in PRECISIONS, "precision", self.precision, ", ".join(PRECISIONS))
        _require(
            bool(self.vary) and set(self.vary) <= set("pas") and len(set(self.vary)) == len(self.vary),
            "vary",
            self.vary,
            "letters of 'pas', each at most once",
        )
        _require(bool(self.points), "points", self.points, "at least one level")
        _require(min(self.points) >= 1, "points", self.points, "1 or more at each level")
        _require(
            self.encoder == "network" or bool(self.linear_kinds),
            "vary",
            self.vary,
            "'p' or 'a' among them, or encoder=network",
        )
        _require(
            self.encoder == "posterior" or self.latent_size > 0,
            "latent_size",
            self.latent_size,
            "1 or more with encoder=network",
        )
        ascending = all(a < b for a, b in zip(self.points, self.points[1:], strict=False))
        _require(ascending, "points", self.points, "levels from coarse to fine")
        for name in ("encoder_width", "mlp_width", "neighbours", "channels", "attention_channels", "interpolation"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in (
            "inference_steps",
            "attention_groups",
            "displacement_scale",
            "latent_noise",
            "latent_penalty",
            "latent_size",
            "smoothness",
            "stiffness",
        ):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        groups = self.attention_groups or self.attention_channels
        _require(
            self.attention_channels % groups == 0,
            "attention_groups",
            groups,
            f"a divisor of attention_channels ({self.attention_channels})",
        )
        object.__setattr__(self, "symmetry", self.symmetry.lower())
        symmetry_operators(self.symmetry)
        low, high = self.resolution
        _require(
            min(low, high) >= 0 and (low > high or 0 in (low, high)),
            "resolution",
            self.resolution,
            "(low, high) in Å, low the larger number, 0 for the widest",
        )

    @property
    def newton_steps(self) -> int:
        """Gauss-Newton steps of the posterior; images are further from linear in positions."""
        return self.inference_steps or Layout.of(self.vary).newton_steps

    @property
    def linear_kinds(self) -> str:
        """Letters of `vary` whose effect on the image is linear to first order and is solved for."""
        return Layout.of(self.vary).linear.letters

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
            return replace(
                cls(),
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
            )
        raise ConfigurationError(f"unknown preset {name!r}; expected small, default or paper.")


def _require(condition: bool, name: str, got: object, expected: str) -> None:
    if not condition:
        raise ConfigurationError(f"{name}: expected {expected}; got {got!r}.")
