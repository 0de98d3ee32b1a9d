"""What is said of a map once it is made: how far its half-maps agree, as a whole and about each voxel; sharpening."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from libhetero.metrics.fsc import described_resolution, resolution
from libhetero.metrics.local_resolution import local_resolution
from libhetero.metrics.masked_fsc import corrected_fsc
from libhetero.reconstruction.backproject import Reconstruction
from libhetero.reconstruction.sharpening import COARSEST, guinier_b_factor, sharpened
from libhetero.report.surfaces import common_level

LOGGER = logging.getLogger(__name__)
RANDOM = "masked, random phases"  # a curve that tells no resolution
SHARPENED, LOCAL_RESOLUTION = "sharpened", "local_resolution"
HALF = 0.5  # of a soft mask, above which a voxel is in it
HALF_MAPS = 0.143  # where the correlation of half-maps is read off
AUTO = "auto"


@dataclass(frozen=True)
class Postprocessing:
    """What is wanted besides the map.

    Parameters
    ----------
    mask : in the images' box, values 0 to 1; None for none.
    b_factor : Å², below 0 to sharpen; "auto" to measure it, None for no sharpened map.
    local_resolution : whether it is mapped.
    """

    mask: Float[np.ndarray, "n n n"] | None = None
    b_factor: float | str | None = None
    local_resolution: bool = False


@dataclass(frozen=True, eq=False)
class Postprocessed:
    """What there is to say of one map.

    Parameters
    ----------
    fsc : of the half-maps; with a mask the corrected one.
    text : how far they agree, for people.
    curves : further columns of the table of correlations, by their names.
    maps : further maps by what they are, "sharpened" and "local_resolution", where they were asked for and can be made.
    """

    fsc: Float[np.ndarray, "shells"]
    text: str
    curves: Mapping[str, Float[np.ndarray, "shells"]] = field(default_factory=dict)
    maps: Mapping[str, Float[np.ndarray, "n n n"]] = field(default_factory=dict)


def postprocessed(made: Reconstruction, pixel_size: float, wanted: Postprocessing) -> Postprocessed:
    """Return how far half-maps agree, and the sharpened map and the local resolution where they are wanted."""
    text = f"half-maps agree (FSC {HALF_MAPS}) to {described_resolution(made.fsc, HALF_MAPS, pixel_size)}"
    fsc, curves = made.fsc, {}
    if wanted.mask is not None:
        found = corrected_fsc(np.asarray(made.half_maps), wanted.mask, made.fsc)
        fsc = found.corrected
        curves = {"masked": found.masked, RANDOM: found.random, "masked, corrected": fsc}
        length = 2 * len(fsc) * pixel_size
        since = "never" if found.shell is None else f"beyond {length / found.shell:.3g} Å"
        text += (
            f", in the mask to {described_resolution(fsc, HALF_MAPS, pixel_size)} (corrected for the mask by phases "
            f"random {since})"
        )
    volume, told = _sharpened(made, fsc, pixel_size, wanted.b_factor)
    maps = {} if volume is None else {SHARPENED: volume}
    if wanted.local_resolution:
        maps[LOCAL_RESOLUTION] = local_resolution(
            np.asarray(made.half_maps), pixel_size, resolution(fsc, HALF_MAPS, pixel_size)
        )
        told += _described(maps[LOCAL_RESOLUTION], made.volume, wanted.mask)
    return Postprocessed(fsc, text + told, curves, maps)


def _described(
    local: Float[np.ndarray, "n n n"], volume: Float[np.ndarray, "n n n"], mask: Float[np.ndarray, "n n n"] | None
) -> str:
    """Return the range of the local resolution in the mask or, without one, where the map is above its surface."""
    volume = np.asarray(volume)
    inside = volume > common_level([volume]) if mask is None else mask > HALF
    if not inside.any():
        return ""
    finest, middle, coarsest = np.percentile(local[inside], [5, 50, 95])
    where = "in the molecule" if mask is None else "in the mask"
    return f", local resolution {where} {finest:.3g} to {coarsest:.3g} Å (9 of 10 voxels), median {middle:.3g} Å"


def _sharpened(
    made: Reconstruction, fsc: Float[np.ndarray, "shells"], pixel_size: float, b_factor: float | str | None
) -> tuple[Float[np.ndarray, "n n n"] | None, str]:
    if b_factor is None:
        return None, ""
    mean, finest = np.mean(made.half_maps, axis=0), resolution(fsc, HALF_MAPS, pixel_size)
    applied = guinier_b_factor(mean, fsc, pixel_size, finest) if isinstance(b_factor, str) else b_factor
    if applied is None:
        LOGGER.warning(
            "--bfactor auto: too few shells between %g Å and the resolution, %.3g Å, tell a B-factor; no sharpened map "
            "is written. Give one in Å² with --bfactor, below 0 to sharpen.",
            COARSEST,
            finest,
        )
        return None, ""
    return sharpened(mean, fsc, pixel_size, applied, finest), f", sharpened by a B-factor of {applied:.0f} Å²"
