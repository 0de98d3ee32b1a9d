"""Configuration of CryoHype."""

from __future__ import annotations

import math
from dataclasses import dataclass

from libhetero.errors import ConfigurationError
from libhetero.models.precision import PRECISIONS

MODULATIONS = ("multiply", "residual")
OUTPUTS = ("complex", "hartley")
ENCODERS = ("transformer", "mlp", "unet")
CONDITIONINGS = ("hypernetwork", "concat")
GROUPS = 8  # of channels that the U-Net normalises together
ENCODER_INPUTS = ("flipped", "wiener", "real")


@dataclass(frozen=True)
class HypeConfig:
    """Sizes and switches of the hypernetwork.

    Parameters
    ----------
    encoder : "transformer"; "mlp" or "unet" to compare it with (`encoders`).
    encoder_width : units of the MLP's layers, or channels of the U-Net's first (a multiple of 8); 0 for
        1024 or 32.
    conditioning : how an image changes the INR: "hypernetwork", its weights; "concat", one token
        joins the features at the INR's input, as in cryoDRGN.
    patch : side of the patches that become tokens, pixels of the box that the encoder sees, or points
        of the grid that it is lifted to; divides that.
    dim : width of a token.
    depth : transformer blocks.
    heads, head_dim : attention heads and their width.
    feed_forward : width of the hidden layer of each block.
    weight_tokens : tokens per INR layer; column j of a layer reads token j mod weight_tokens.
    positions : add learnable positions to the patches (the published model has none).
    align : turn each image in its plane so that psi = 0, the pose being known.
    view : one more token, which tells the encoder from where the molecule is seen.
    encoder_input : what the encoder is given of the centred image: "flipped", the phases of the CTF
        flipped, as published; "wiener", CTF X / (CTF² + 1 / SNR) with each ring's SNR; "real", as it is.
    lift : points along each side of a grid in the molecule's frame on which the image is spread along
        its direction of view, so that the encoder sees one molecule alike in all views; 0 for the
        image in its plane. The U-Net is always given the plane.
    encoder_box : box that the encoder's image is Fourier-cropped to, pixels; 0 for no crop.
    modulation : "multiply", base ⊙ head, as published; "residual", base ⊙ (1 + head).
    inr_width : units of an INR layer.
    inr_layers : layers of that width.
    inr_frequencies : random frequencies of the INR's coordinate features (two features each).
    feature_sigma : their spread as a length in real space, fraction of the box; 1 / 4π published.
    output : "complex", V(k) = a + ib with V(-k) = conj V(k); "hartley", one real number.
    profile : scale the output, ring by ring, to the signal's spectrum measured on a sample.
    coordinates : pixels of each image compared in a step, drawn anew (`sampling`); 0 for all.
    window : radius of the soft disc that the encoder sees, fraction of half the box.
    precision : "auto", "float32" or "bfloat16" operands of dense layers.
    remat : compute the transformer's blocks and the weights of the INRs again for the gradient, where memory
        binds, instead of keeping what they computed.
    """

    encoder: str = "transformer"
    encoder_width: int = 0
    conditioning: str = "hypernetwork"
    patch: int = 16
    dim: int = 768
    depth: int = 6
    heads: int = 12
    head_dim: int = 64
    feed_forward: int = 3072
    weight_tokens: int = 32
    positions: bool = True
    align: bool = True
    view: bool = True
    encoder_input: str = "wiener"
    lift: int = 0
    encoder_box: int = 0
    modulation: str = "residual"
    inr_width: int = 1024
    inr_layers: int = 4
    inr_frequencies: int = 192
    feature_sigma: float = 0.15
    output: str = "complex"
    profile: bool = True
    coordinates: int = 0
    window: float = 0.85
    precision: str = "auto"
    remat: bool = False

    def __post_init__(self) -> None:
        for name in (
            "patch",
            "dim",
            "depth",
            "heads",
            "head_dim",
            "feed_forward",
            "weight_tokens",
            "inr_width",
            "inr_layers",
            "inr_frequencies",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}: expected 1 or more; got {getattr(self, name)}.")
        for name in ("encoder_width", "lift", "encoder_box", "coordinates"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name}: expected 0 or more; got {getattr(self, name)}.")
        for name, choices in (
            ("modulation", MODULATIONS),
            ("output", OUTPUTS),
            ("precision", PRECISIONS),
            ("encoder", ENCODERS),
            ("conditioning", CONDITIONINGS),
            ("encoder_input", ENCODER_INPUTS),
        ):
            if getattr(self, name) not in choices:
                raise ConfigurationError(f"{name}: expected {' or '.join(choices)}; got {getattr(self, name)!r}.")
        if self.encoder == "unet" and self.encoder_width % GROUPS:
            raise ConfigurationError(
                f"encoder_width: expected a multiple of {GROUPS} for the U-Net, whose channels are normalised "
                f"in {GROUPS} groups; got {self.encoder_width}."
            )
        for name in ("feature_sigma", "window"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigurationError(f"{name}: expected a fraction above 0, at most 1; got {getattr(self, name)}.")

    @classmethod
    def preset(cls, name: str) -> HypeConfig:
        """Return "small" (two CPU cores, boxes of 32 to 64), "default" or "paper" (as published).

        Raises
        ------
        ConfigurationError : for another name.
        """
        if name == "small":
            return cls(
                lift=12,
                encoder_box=32,
                patch=4,
                dim=128,
                depth=2,
                heads=4,
                head_dim=32,
                feed_forward=256,
                weight_tokens=4,
                inr_width=128,
                inr_layers=3,
                inr_frequencies=512,
                coordinates=384,
            )
        if name == "default":
            return cls(
                lift=24, encoder_box=64, patch=6, depth=4, weight_tokens=16, inr_frequencies=512, coordinates=1024
            )
        if name == "paper":
            return cls(
                positions=False,
                align=False,
                view=False,
                encoder_input="flipped",
                modulation="multiply",
                output="hartley",
                profile=False,
                feature_sigma=1 / (4 * math.pi),
            )
        raise ConfigurationError(f"unknown preset {name!r}; expected small, default or paper.")

    def seen_box(self, box_size: int) -> int:
        """Return the box of the image that the encoder is given, pixels."""
        return min(self.encoder_box or box_size, box_size)

    def seen_shape(self, box_size: int) -> tuple[int, ...]:
        """Return the shape of what the encoder is given: an image, or a grid."""
        if self.lift and self.encoder != "unet":
            return (self.lift,) * 3
        return (self.seen_box(box_size),) * 2

    def layer_sizes(self) -> tuple[tuple[int, int], ...]:
        """Return (fan_in, fan_out) of every INR layer."""
        widths = [2 * self.inr_frequencies, *[self.inr_width] * self.inr_layers]
        outputs = 2 if self.output == "complex" else 1
        return tuple(zip(widths, [*widths[1:], outputs], strict=True))

    def layer_tokens(self) -> tuple[int, ...]:
        """Return the weight tokens of every INR layer; a layer needs no more than its columns."""
        if self.conditioning == "concat":
            return (1,)
        return tuple(min(self.weight_tokens, fan_out) for _, fan_out in self.layer_sizes())
