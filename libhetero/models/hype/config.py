"""Configuration of CryoHype."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from libhetero.configuration import check_options, option, refused
from libhetero.configuration.limits import MOST_BOX, MOST_LAYERS, MOST_LIFT, MOST_WIDTH
from libhetero.models.options import MODEL, contrast_option, poses_option, precision_option, unknown_preset

MOST_SEARCHED = 42_000  # particles in which classes are searched
MOST_SLICES = 250_000  # images of particles that have many
MOST_IMAGES = 3 * 2**29  # bytes of their images
EPOCHS_FROM_CLASSES = 4
GROUPS = 8  # of channels that the U-Net normalises together


@dataclass(frozen=True)
class HypeConfig:
    """Sizes and switches of the hypernetwork."""

    symmetry: ClassVar[str] = "c1"  # every image has a whole volume of its own

    encoder: str = option(
        "transformer",
        "--encoder",
        choices=("transformer", "mlp", "unet"),
        group=MODEL,
        help="CryoHype: a transformer, or an MLP or U-Net to compare it with",
    )
    encoder_width: int = option(
        0,
        least=0,
        most=MOST_WIDTH,
        help="units of the MLP's layers, or channels of the U-Net's first (a multiple of 8); 0 for 1024 or 32",
    )
    conditioning: str = option(
        "hypernetwork",
        "--conditioning",
        choices=("hypernetwork", "concat"),
        group=MODEL,
        help="CryoHype: how an image changes the INR: its weights, or, as in cryoDRGN, one token that joins the "
        "features at its input",
    )
    patch: int = option(
        16,
        least=1,
        most=MOST_BOX,
        help="side of the patches that become tokens, pixels of the box that the encoder sees, or points of the grid "
        "that it is lifted to; divides that",
    )
    dim: int = option(768, least=1, most=MOST_WIDTH, help="width of a token")
    depth: int = option(6, least=1, most=MOST_LAYERS, help="transformer blocks")
    heads: int = option(12, least=1, most=MOST_WIDTH, help="attention heads")
    head_dim: int = option(64, least=1, most=MOST_WIDTH, help="width of an attention head")
    feed_forward: int = option(3072, least=1, most=MOST_WIDTH, help="width of the hidden layer of each block")
    weight_tokens: int = option(
        32, least=1, most=MOST_WIDTH, help="tokens per INR layer; column j of a layer reads token j mod weight_tokens"
    )
    positions: bool = option(True, help="add learnable positions to the patches (the published model has none)")
    align: bool = option(True, help="turn each image in its plane so that psi = 0, the pose being known")
    view: bool = option(True, help="one more token, which tells the encoder from where the molecule is seen")
    encoder_input: str = option(
        "wiener",
        choices=("flipped", "wiener", "real"),
        help="what the encoder is given of the centred image: flipped, the phases of the CTF flipped, as published; "
        "wiener, CTF X / (CTF² + 1 / SNR) with each ring's SNR; real, as it is",
    )
    lift: int = option(
        0,
        least=0,
        most=MOST_LIFT,
        help="points along each side of a grid in the molecule's frame on which the image is spread along its "
        "direction of view, so that the encoder sees one molecule alike in all views; 0 for the image in its plane. "
        "The U-Net is always given the plane",
    )
    encoder_box: int = option(
        0, least=0, most=MOST_BOX, help="box that the encoder's image is Fourier-cropped to, pixels; 0 for no crop"
    )
    modulation: str = option(
        "residual",
        choices=("multiply", "residual"),
        help="multiply, base ⊙ head, as published; residual, base ⊙ (1 + head)",
    )
    inr_width: int = option(1024, least=1, most=MOST_WIDTH, help="units of an INR layer")
    inr_layers: int = option(4, least=1, most=MOST_LAYERS, help="layers of that width")
    inr_frequencies: int = option(
        192, least=1, most=MOST_WIDTH, help="random frequencies of the INR's coordinate features (two features each)"
    )
    feature_sigma: float = option(
        0.15, above=0, most=1, help="their spread as a length in real space, fraction of the box; 1 / 4π published"
    )
    output: str = option(
        "complex",
        choices=("complex", "hartley"),
        help="complex, V(k) = a + ib with V(-k) = conj V(k); hartley, one real number",
    )
    profile: bool = option(True, help="scale the output, ring by ring, to the signal's spectrum measured on a sample")
    coordinates: int = option(
        0, least=0, most=MOST_BOX**2, help="pixels of each image compared in a step, drawn anew (`sampling`); 0 for all"
    )
    blind: bool = option(
        True,
        help="the encoder is not shown the pixels that its volume is compared with in a step, where coordinates are "
        "drawn, so that noise is not learnt (`sampling`); false, it is shown all, as published",
    )
    window: float = option(
        0.85, above=0, most=1, help="radius of the soft disc that the encoder sees, fraction of half the box"
    )
    start: str = option(
        "none",
        "--start",
        choices=("classes", "none"),
        group=MODEL,
        help="CryoHype: classes, which molecules there are is solved for first, as by e2hype_classify.py; the network "
        "is told which of them an image shows, and adds to their volumes; none, it begins from nothing, as published, "
        "and has more epochs by default",
    )
    particle_contrast: str = contrast_option()
    refine_poses: bool = poses_option()
    precision: str = precision_option()
    remat: bool = option(
        False,
        "--remat",
        group=MODEL,
        changeable=True,
        help="CryoHype: compute the transformer's blocks and the weights of the INRs again for the gradient instead of "
        "keeping them, for less memory",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.encoder == "unet" and self.encoder_width % GROUPS:
            raise refused(
                self,
                "encoder_width",
                f"a multiple of {GROUPS} for the U-Net, whose channels are normalised in {GROUPS} groups",
            )

    def settled(self, stored: HypeConfig) -> HypeConfig:
        """Return the same with what a run's particles have settled: whether there are classes to begin with."""
        return self if self.start == "none" else replace(self, start=stored.start)

    def as_asked(self) -> HypeConfig:
        """Return the same with what the particles have decided left to them again: of this model, nothing is."""
        return self

    @property
    def takes_series(self) -> bool:
        """Whether images of one particle have one latent: the transformer alone reads any number of images."""
        return self.encoder == "transformer"

    def sample_size(self, box_size: int, usual: int, views: int) -> int:
        """Return how many particles the model's statistics are measured on: for classes all that memory holds.

        Parameters
        ----------
        box_size : pixels.
        usual : images for other statistics.
        views : images of each particle.
        """
        usual = max(usual // views, 1)
        if self.start == "none":
            return usual
        return max(usual, min(MOST_SEARCHED, MOST_SLICES // views, MOST_IMAGES // (4 * box_size**2 * views)))

    def further_size(self, box_size: int, usual: int, views: int) -> int:
        """Return how many particles a search takes besides those of `sample_size`: none."""
        return 0

    def compared(self, views: int) -> int:
        """Return how many pixels of each image are drawn in a step, 0 for all.

        Each of V images of a particle says a V-th of what is said of it, or little more, at V times the cost: √V times
        the pixels of one image are drawn of all of them. V is that of the particle of most images.
        """
        return math.ceil(self.coordinates / views**0.5)

    def hides(self, views: int) -> bool:
        """Return whether the encoder is not shown the pixels that are compared in a step."""
        return self.blind and self.compared(views) > 0

    def training_defaults(self) -> dict[str, Any]:
        """Return the training's fields that differ: what begins with volumes has less to learn."""
        return {"epochs": EPOCHS_FROM_CLASSES} if self.start == "classes" else {}

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
                start="classes",
            )
        if name == "default":
            return cls(
                lift=24,
                encoder_box=64,
                patch=6,
                depth=4,
                weight_tokens=16,
                inr_frequencies=512,
                coordinates=1024,
                start="classes",
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
                particle_contrast="none",
            )
        raise unknown_preset(name)

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
