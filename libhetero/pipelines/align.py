"""Poses at which each region of a Gaussian run stands still, in place of the molecule."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as
from libhetero.configuration.limits import MOST_CLASSES
from libhetero.errors import ConfigurationError
from libhetero.pipelines.evaluate import parsed_indices
from libhetero.pipelines.segment import SegmentConfig
from libhetero.pipelines.validate import ValidateConfig

LOGGER = logging.getLogger(__name__)
FOLDER, ARROWS = "aligned", "motion.bild"
MOST_SWEEPS = 100


@dataclass(frozen=True)
class AlignConfig:
    """Which regions, and how their poses are found."""

    folder: str = option(positional="RUN", help="run folder of a Gaussian model that was segmented, such as hype_00")
    epoch: int | None = same_as(SegmentConfig, "epoch", None)
    regions: tuple[int, ...] | None = option(
        None,
        "--region",
        metavar="LIST",
        parse=parsed_indices,
        least=0,
        most=MOST_CLASSES,
        help="regions, such as 1 or 1,3; 0 is the constant core",
        shown_default="all but the core",
    )
    segmentation: str | None = same_as(
        ValidateConfig, "segmentation", help="whose regions are taken, by its name in RUN/segmentations"
    )
    refine: bool = option(
        False,
        "--refine",
        help="refine the pose of each region against the images, the rest of the molecule as it is decoded (see "
        "--sweeps); how far it may go is learnt from the particles",
    )
    sweeps: int = option(
        2,
        "--sweeps",
        metavar="N",
        least=1,
        most=MOST_SWEEPS,
        goes_with=("refine",),
        help="how often each region is refined: in sweeps over the regions, each with the others where they were found "
        "last; with 1, with the others as they are decoded",
    )
    subtract: bool = option(
        False,
        "--subtract",
        help="also copy the images, less the signal of all but the region, into region_NN_subtracted.mrcs, which the "
        "lists then name",
    )
    batch_size: int = same_as(SegmentConfig, "batch_size", group="")
    output: str | None = option(
        None, "--output", metavar="FOLDER", help="where to write", shown_default=f"RUN/{FOLDER}"
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class AlignResult:
    """What was found and written.

    Parameters
    ----------
    motions : a `libhetero.pipelines.aligning.motions.RegionMotion` for each region.
    folder : where the lists are.
    tables : how each region moves.
    masks : of each region.
    arrows : of the regions' main motions, for ChimeraX.
    """

    motions: tuple[Any, ...]
    folder: Path
    tables: tuple[Path, ...]
    masks: tuple[Path, ...]
    arrows: Path


def run(config: AlignConfig, progress: Callable[[float], None] | None = None) -> AlignResult:
    """Find how regions move, and write lists of the particles in which each of them stands still.

    Parameters
    ----------
    config : which regions, and how.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    import numpy as np

    from libhetero.files import replacing_set
    from libhetero.pipelines.aligning.files import region_name, write_alignment, write_motion_arrows
    from libhetero.pipelines.aligning.motions import decoded_motions, operators_of, refined_motions
    from libhetero.pipelines.aligning.subtracting import check_subtraction, write_subtracted
    from libhetero.pipelines.decoding.gaussians import neutral_gaussians
    from libhetero.pipelines.decoding.latents import particle_latents
    from libhetero.pipelines.decoding.particle_findings import particles_as_found
    from libhetero.pipelines.regions.files import read_labels
    from libhetero.pipelines.run.folder import open_run
    from libhetero.pipelines.run.particles import listed_particles
    from libhetero.telling.progress import part_of

    advance = progress or (lambda fraction: None)
    trained = open_run(config.folder, config.epoch).reading(None, config.segmentation)
    neutral = neutral_gaussians(trained)
    table = trained.regions_folder / "regions.txt"
    if not table.exists():
        raise ConfigurationError(
            f"{table}: no such file; expected the regions of a segmentation. Find them first: e2hype_segment.py "
            f"{config.folder}"
        )
    label = read_labels(table, len(neutral.sigma))
    regions = _chosen(config, label, table)
    folder = Path(config.output) if config.output is not None else trained.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if config.subtract:
        check_subtraction(folder, trained, regions)
    latent = particle_latents(trained, config.batch_size)  # at the list's poses, about which they are solved for
    trained = dataclasses.replace(trained, particles=particles_as_found(trained))
    share = 0.2 if config.refine else 1.0
    motions = decoded_motions(trained, latent, label, regions, config.batch_size, lambda done: advance(share * done))
    if config.refine:
        told = part_of(advance, share, 1 - share)
        motions = refined_motions(trained, latent, label, motions, config.batch_size, config.sweeps, told)
    for motion in motions:
        LOGGER.info(
            "region %d: turns by %.2g°, its middle goes by %.2g Å (root mean square over the particles); %.2g Å of "
            "its motion are not rigid",
            motion.region,
            np.degrees(np.sqrt(np.mean(motion.motions.angles() ** 2))),
            np.sqrt(np.mean(motion.moved**2)),
            np.sqrt(np.mean(motion.residual**2)),
        )
    units = len(operators_of(trained))
    if units > 1:
        LOGGER.info(
            "the Gaussians are one of %d units: lists hold every image %d times, once at the pose of each unit's "
            "region. Leave --sym out where maps are made of them.",
            units,
            units,
        )
    particles = listed_particles(trained.particles, trained.config.data)
    with replacing_set(folder):
        stacks = (
            write_subtracted(folder, trained, latent, label, motions, config.batch_size) if config.subtract else None
        )
        tables = write_alignment(folder, particles, motions, stacks)
        origin = (trained.model.box_size // 2) * trained.model.pixel_size
        arrows = write_motion_arrows(folder / ARROWS, np.asarray(neutral.position), label, motions, origin)
    masks = tuple(trained.regions_folder / "masks" / f"{region_name(region)}.mrc" for region in regions)
    return AlignResult(tuple(motions), folder, tuple(tables), masks, arrows)


def _chosen(config: AlignConfig, label: Any, table: Path) -> list[int]:
    """Return the regions that are asked for.

    Raises
    ------
    ConfigurationError : if one is not there.
    """
    there = sorted({int(region) for region in label if region >= 0})
    if config.regions is None:
        return [region for region in there if region > 0]
    missing = [region for region in config.regions if region not in there]
    if missing:
        raise ConfigurationError(
            f"--region {missing[0]}: {table} holds {', '.join(map(str, there))}; expected some of these."
        )
    return list(dict.fromkeys(config.regions))
