"""From a map or an atomic model to a starting Gaussian mixture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_volume, write_gaussians, write_gaussians_pdb
from libhetero.metrics.fsc import resolution
from libhetero.models.gmm.start import (
    FittedMixture,
    default_count,
    default_threshold,
    fit_mixture,
    place_gaussians,
)
from libhetero.simulate.atoms import density_of_atoms
from libhetero.simulate.sources import whole_model
from libhetero.simulate.structures import check_fits

LOGGER = logging.getLogger(__name__)
MODEL_SUFFIXES = (".pdb", ".cif", ".ent", ".mmcif")
SPACING = 1.5  # voxels between Gaussians when their number is not given
MODEL_B_FACTOR = 50.0  # Å²


@dataclass(frozen=True)
class GuessConfig:
    """What was asked for.

    Parameters
    ----------
    source : map (.mrc, .map, .hdf, also gzipped) or atomic model (.pdb, .cif, also gzipped),
        whose centre of mass is put at the box centre.
    output : EMAN2 Gaussian text to write; a .pdb is written beside it.
    count : number of Gaussians; None to follow the molecule's volume.
    threshold : density level that holds the molecule; None for mean + 2 standard deviations.
    box_size : pixels; for an atomic model, which has none.
    pixel_size : Å; for an atomic model, or in place of the map's.
    steps : of the fit.
    seed : of k-means.
    """

    source: str
    output: str
    count: int | None = None
    threshold: float | None = None
    box_size: int | None = None
    pixel_size: float | None = None
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigurationError(f"--ngauss: expected 1 or more; got {self.count}.")
        if self.steps < 1:
            raise ConfigurationError(f"--niter: expected 1 or more; got {self.steps}.")
        if self.box_size is not None and (self.box_size < 8 or self.box_size % 2):
            raise ConfigurationError(
                f"--box: expected an even number of at least 8; got {self.box_size}."
            )
        if self.pixel_size is not None and not self.pixel_size > 0:
            raise ConfigurationError(f"--apix: expected more than 0; got {self.pixel_size:g}.")
        if not self.output.endswith(".txt"):
            raise ConfigurationError(f"{self.output}: expected a name ending in .txt for the Gaussians.")


def run(config: GuessConfig, progress: Callable[[float], None] | None = None) -> FittedMixture:
    """Fit the mixture, write it, and say how well it explains the map.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    volume, pixel_size = _volume(config)
    threshold = default_threshold(volume) if config.threshold is None else config.threshold
    count = config.count or default_count(volume, threshold, SPACING)
    LOGGER.info(
        "%s: box %d, %.4g Å per voxel; %d Gaussians above density %.4g",
        config.source, volume.shape[0], pixel_size, count, threshold,
    )  # fmt: skip

    def report(step: int, correlation: float) -> None:
        LOGGER.info("step %d of %d, correlation with the map %.4f", step, config.steps, correlation)
        if progress is not None:
            progress(step / config.steps)

    start = place_gaussians(volume, pixel_size, count, threshold, config.seed)
    fitted = fit_mixture(volume, pixel_size, start, config.steps, report)
    write_gaussians(config.output, fitted.gaussians, volume.shape[0], pixel_size)
    centre = volume.shape[0] // 2 * pixel_size  # where viewers, which start at a corner, see it
    write_gaussians_pdb(
        Path(config.output).with_suffix(".pdb"), fitted.gaussians, origin=(centre,) * 3
    )
    explained = resolution(fitted.fsc, 0.5, pixel_size)
    LOGGER.info(
        "%s: %d Gaussians, correlation %.4f, FSC with the map above 0.5 to %.3g Å",
        config.output, count, fitted.correlation, explained,
    )  # fmt: skip
    return fitted


def _volume(config: GuessConfig) -> tuple[np.ndarray, float]:
    name = config.source.lower().removesuffix(".gz")
    if name.endswith(MODEL_SUFFIXES):
        if config.box_size is None or config.pixel_size is None:
            raise ConfigurationError(
                f"{config.source}: an atomic model has no box; expected --box and --apix, those of "
                "the particles."
            )
        model = whole_model(config.source, MODEL_B_FACTOR)
        check_fits(model, config.box_size * config.pixel_size, config.source)
        return density_of_atoms(model.atoms, config.box_size, config.pixel_size), config.pixel_size
    volume, pixel_size = read_volume(config.source, config.pixel_size)
    if len(set(volume.shape)) > 1 or volume.shape[0] % 2:
        raise DataError(
            f"{config.source}: the map is {volume.shape[2]}×{volume.shape[1]}×{volume.shape[0]}; "
            "expected a cube with an even side. Clip or pad it."
        )
    if not np.isfinite(volume).all():
        raise DataError(f"{config.source}: the map holds NaN or infinite voxels; expected numbers.")
    return volume, pixel_size
