"""What the configurations of all families say alike: presets, precision, contrast, poses, the heading of the help."""

from __future__ import annotations

from typing import Any

from libhetero.configuration import option
from libhetero.errors import ConfigurationError

MODEL = "model"  # heading of the help
DEFAULT = "default"
PRESETS = ("small", DEFAULT, "paper")  # of every family


def precision_option() -> Any:
    """Declare the precision of dense layers' operands, the same for every family (`libhetero.models.precision`)."""
    return option(
        "auto",
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        group=MODEL,
        help="of products; auto is bfloat16 on GPU and TPU",
    )


def contrast_option() -> Any:
    """Declare whether each particle has a contrast of its own (`libhetero.models.contrast`); alike in every family."""
    return option(
        "estimated",
        "--contrast",
        choices=("estimated", "none"),
        group=MODEL,
        help="of each particle: estimated with its spread in the set, and particles that show nothing (junk) weighed "
        "down; or none, all alike",
    )


def poses_option() -> Any:
    """Declare whether poses are refined about the list's and written back; alike in every family."""
    return option(
        False,
        "--refine_poses",
        group=MODEL,
        help="take the list's poses as wrong by a few degrees and pixels, by how much the particles say; refine each "
        "about the list's, and write lists with the refined ones. Gaussians solve for them with the latent; CryoHype "
        "refines them first, against the classes that e2hype_classify.py finds",
    )


def unknown_preset(name: str) -> ConfigurationError:
    """Return the refusal of a preset that no family has."""
    return ConfigurationError(f"unknown preset {name!r}; expected {', '.join(PRESETS[:-1])} or {PRESETS[-1]}.")
