"""Homogeneous reconstruction of a particle set, with half-maps and their correlation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import ConfigurationError
from libhetero.files import check_folder
from libhetero.io import write_volume
from libhetero.io.fsc import write_fsc
from libhetero.metrics.fsc import resolution
from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import feed_batches
from libhetero.pipelines.run.particles import feed_of, load_particles
from libhetero.pipelines.run.preparation import measured
from libhetero.reconstruction.backproject import Reconstruction, reconstruct
from libhetero.telling.progress import tracked
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Make3dConfig:
    """What was asked for.

    Parameters
    ----------
    data : which particles.
    output : map to write, .mrc or .hdf; the half-maps and the FSC are written beside it.
    contrast : 1 or -1 to decide it, None to estimate it.
    batch_size : images inserted at once.
    seed : of the sample that contrast and normalisation are measured on.
    symmetry : of the structure, "c4" …
    """

    data: DataConfig
    output: str
    contrast: int | None = None
    batch_size: int = 64
    seed: int = 0
    symmetry: str = "c1"

    def __post_init__(self) -> None:
        symmetry_operators(self.symmetry)
        if Path(self.output).suffix not in (".mrc", ".hdf"):
            raise ConfigurationError(f"{self.output}: expected a map name ending in .mrc or .hdf.")
        if self.batch_size < 1:
            raise ConfigurationError(f"--batchsz: expected 1 or more; got {self.batch_size}.")


def run(config: Make3dConfig, progress: Callable[[float], None] | None = None) -> Reconstruction:
    """Reconstruct, write map, half-maps and FSC table, and say the resolution.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    check_folder(config.output)
    feed = listed_feed(config.data, config.contrast, config.seed)
    made = reconstruct_some(feed, np.arange(len(feed)), config.batch_size, config.symmetry, "reconstructing", progress)
    write_maps(Path(config.output), made, feed.pixel_size)
    LOGGER.info(
        "%s: %d particles, half-maps agree (FSC 0.143) to %.3g Å",
        config.output,
        made.particles,
        resolution(made.fsc, 0.143, feed.pixel_size),
    )
    return made


def listed_feed(data: DataConfig, contrast: int | None, seed: int) -> ParticleFeed:
    """Return the particles of a list, their contrast and one deviation measured on a sample.

    Parameters
    ----------
    data : which particles.
    contrast : 1 or -1 to decide it, None to estimate it.
    seed : of the sample.

    Raises
    ------
    UserError : one line on what is wrong with the list or its images.
    """
    return measured(feed_of(load_particles(data), data), contrast, seed)


def reconstruct_some(
    feed: ParticleFeed,
    indices: Int[np.ndarray, "chosen"],
    batch_size: int,
    symmetry: str,
    what: str,
    progress: Callable[[float], None] | None = None,
) -> Reconstruction:
    """Reconstruct some particles of a feed; the half-sets are theirs where they are of both.

    Parameters
    ----------
    indices : places in the feed.
    batch_size : images inserted at once.
    symmetry : of the structure, "c4" …
    what : a few words for the progress.
    progress : called with the fraction done.
    """
    stream = tracked(
        feed_batches(feed, batch_size, indices),
        len(indices),
        what,
        lambda batch: int(np.count_nonzero(batch.weight)),
        progress,
    )
    half_set = feed.particles.half_set
    if half_set is not None and len(np.unique(half_set[indices])) < 2:
        LOGGER.warning("all particles are of one half-set; every other one is taken instead.")
        half_set = None
    operators = symmetry_operators(symmetry)
    return reconstruct(stream, feed.box_size, feed.pixel_size, half_set, operators=operators)


def write_maps(
    output: Path,
    made: Reconstruction,
    pixel_size: float,
    curves: Mapping[str, Float[np.ndarray, "shells"]] | None = None,
) -> None:
    """Write map, half-maps, and a table of the half-maps' correlation and others.

    Parameters
    ----------
    output : the map, .mrc or .hdf; the rest is written beside it.
    made : the map.
    pixel_size : Å.
    curves : further columns of the table.
    """
    write_volume(output, made.volume, pixel_size)
    for number, half_map in enumerate(made.half_maps):
        name = output.with_name(f"{output.stem}_half{number + 1}{output.suffix}")
        write_volume(name, half_map, pixel_size)
    name = output.with_name(f"{output.stem}_fsc.txt")
    write_fsc(name, {"FSC of the half-maps": made.fsc, **(curves or {})}, pixel_size)
