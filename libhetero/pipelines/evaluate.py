"""Volumes of a run: of particles, of classes, of points in latent space, along paths and on grids."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from libhetero.configuration import check_options, named, option, same_as, value_of
from libhetero.configuration.limits import (
    LEAST_PIXEL,
    MOST_BOX,
    MOST_CLASSES,
    MOST_LENGTH,
    MOST_PARTICLES,
    MOST_PIXEL,
    MOST_SEED,
    MOST_VOLUMES,
)
from libhetero.errors import ConfigurationError
from libhetero.files import replacing_set, require_memory, require_space
from libhetero.pipelines.segment import SegmentConfig, folder_name

LOGGER = logging.getLogger(__name__)
PICTURE_BYTES = 2**20  # of memory for each picture of a movie, at most
VOLUME_BYTES = 32  # of memory for each voxel: four volumes at once, the transform of one, and what it is made in
WHICH, HOW, GRID = "which volumes, one of", "how they are chosen", "how they are written"  # headings of the help


def parsed_indices(text: str) -> tuple[int, ...]:
    """Return the particles of 0,5,9 and 100-107."""
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part.strip())
        if ends is None:
            raise ValueError("expected indices such as 0,5,9 or 3-7")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            raise ValueError(f"expected the lower of {first}-{last} first, as in 3-7")
        if len(found) + last - first >= MOST_VOLUMES:
            raise ValueError(f"expected at most {MOST_VOLUMES} particles at a time")
        found.extend(range(first, last + 1))
    return tuple(found)


def _which(*flags: str, **said: Any) -> Any:
    """Declare an option that says which volumes; one of them is given."""
    return option(None, *flags, group=WHICH, exclusive="which", required=True, **said)


@dataclass(frozen=True)
class EvaluateConfig:
    """Which volumes, on which grid."""

    folder: str = option(positional="RUN", help="run folder, such as hype_00")
    epoch: int | None = same_as(SegmentConfig, "epoch", None)
    particles: tuple[int, ...] | None = _which(
        "--particles",
        metavar="LIST",
        parse=parsed_indices,
        least=0,
        most=MOST_PARTICLES,
        help="particles by index from 0, such as 0,5,9 or 100-107",
    )
    classes: str | None = _which("--classes", metavar="FILE", help="lines of particle index and class")
    latent: str | None = _which(
        "--latent", metavar="FILE", help="latent points laid out as mid_00.txt: index, then the latent"
    )
    all_classes: int | None = _which(
        "--all_classes",
        metavar="K",
        least=1,
        most=MOST_CLASSES,
        help="sort all particles into K classes by k-means of their latents",
    )
    path: tuple[int, ...] | None = _which(
        "--path",
        metavar="A,B,…",
        parse=parsed_indices,
        check=lambda value: None if len(value) > 1 else "two or more particles, such as 5,120",
        least=0,
        most=MOST_PARTICLES,
        help="a way through the latents of these particles, in order",
    )
    component: int | None = _which(
        "--pc",
        metavar="N",
        least=1,
        most=100,
        help="along principal component N of the latents, 5th to 95th percentile, see --steps",
    )
    regions: str | None = _which(
        "--regions",
        metavar="FILE",
        path=True,
        help="along the first coordinate of each region of this file, laid out as regions.txt, as those changed by "
        "hand in e2hype_dashboard.py: the particles in --steps parts of as many each, and the mean of each part",
    )
    grid: int | None = _which("--grid", metavar="N", least=2, most=300, help="a grid of N × N points, see --over")
    centre: str | None = option(
        None,
        "--centre",
        group=HOW,
        choices=("mean", "medoid"),
        goes_with=("classes", "all_classes"),
        otherwise="mean",
        help="of a class: its mean latent, or the member nearest to it",
    )
    steps: int | None = option(
        None,
        "--steps",
        group=HOW,
        metavar="N",
        least=1,
        most=MOST_VOLUMES,
        goes_with=("path", "component", "regions"),
        otherwise=10,
        help="of a path, from each particle to the next, at most so many by --route graph; of --pc and of each region, "
        "in all",
    )
    route: str | None = option(
        None,
        "--route",
        group=HOW,
        choices=("graph", "direct"),
        goes_with=("path",),
        otherwise="graph",
        help="of a path: from neighbour to neighbour, or a straight line",
    )
    movie: bool = option(
        False,
        "--movie",
        group=HOW,
        goes_with=("path", "component"),
        help="also write volumes.gif, the surfaces one after the other, and let volumes.cxc play them, coloured by how "
        "much each place changes",
    )
    over: str | None = option(
        None,
        "--over",
        group=HOW,
        choices=("pc", "plane"),
        goes_with=("grid",),
        otherwise="pc",
        help="of a grid: the first two principal components of the latents, 5th to 95th percentile; or the plane of "
        "e2hype_embed.py, by the particle nearest to the middle of each cell",
    )
    embedding: str | None = option(
        None,
        "--embedding",
        group=HOW,
        metavar="NAME",
        help="in whose plane volumes are shown, by its name in RUN/embeddings",
        shown_default="the latest",
    )
    seed: int = option(0, "--seed", group=HOW, metavar="N", least=0, most=MOST_SEED, help="of k-means")
    batch_size: int = same_as(SegmentConfig, "batch_size", group=HOW)
    box_size: int | None = option(
        None,
        "--box",
        group=GRID,
        metavar="N",
        least=8,
        most=MOST_BOX,
        even=True,
        help="voxels along each side",
        shown_default="the run's",
    )
    pixel_size: float | None = option(
        None,
        "--apix",
        group=GRID,
        metavar="Å",
        least=LEAST_PIXEL,
        most=MOST_PIXEL,
        help="pixel size",
        shown_default="the run's",
    )
    lowpass: float | None = option(
        None,
        "--lowpass",
        group=GRID,
        metavar="Å",
        above=0,
        most=MOST_LENGTH,
        help="filter to this resolution",
        shown_default="none",
    )
    crop: int | None = option(
        None,
        "--crop",
        group=GRID,
        metavar="N",
        least=2,
        most=MOST_BOX,
        even=True,
        help="keep N voxels about the centre, after all else; the header's origin keeps the place",
    )
    format: str = option("mrc", "--format", group=GRID, choices=("mrc", "hdf"), help="of the volumes")
    name: str | None = option(
        None,
        "--name",
        group=GRID,
        metavar="NAME",
        exclusive="where",
        check=folder_name,
        help="of the folder in RUN/volumes; one of that name is replaced",
        shown_default="what is shown, such as path_5_120",
    )
    output: str | None = option(
        None,
        "--output",
        group=GRID,
        metavar="FOLDER",
        exclusive="where",
        help="where to write instead",
        shown_default="RUN/volumes/NAME",
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class EvaluateResult:
    """What was written.

    Parameters
    ----------
    volumes : one path a volume.
    figure : of at most eight of them, spread over all.
    script : opens all in ChimeraX at one level.
    movie : of the surfaces; None where it was not asked for.
    table : text file that says what each volume is.
    plane : figure of where they lie among the particles; None where these are not embedded.
    """

    volumes: tuple[Path, ...]
    figure: Path
    script: Path
    table: Path
    plane: Path | None
    movie: Path | None = None


def run(config: EvaluateConfig, progress: Callable[[float], None] | None = None) -> EvaluateResult:
    """Decode and write the volumes asked for; Gaussians also as .txt and .pdb.

    Parameters
    ----------
    config : which.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder, a file or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.run.folder import open_run

    return evaluated(open_run(config.folder, config.epoch), config, progress)


def evaluated(trained: Any, config: EvaluateConfig, progress: Callable[[float], None] | None = None) -> EvaluateResult:
    """Do as `run` does with a run that is open: a `libhetero.pipelines.run.folder.Run`, that of `config.folder`."""
    from libhetero.pipelines.decoding.results_page import write_results_page

    trained = trained.reading(config.embedding)
    box, pixel_size = _grid(config, trained.model.box_size, trained.model.pixel_size)
    with ExitStack() as claims, replacing_set(trained.folder):  # those end when all files are in their places
        result = _write(config, trained, box, pixel_size, claims, progress)
    write_results_page(trained.folder)
    return result


def _write(
    config: EvaluateConfig,
    trained: Any,
    box: int,
    pixel_size: float,
    claims: ExitStack,
    progress: Callable[[float], None] | None,
) -> EvaluateResult:
    """Decode and write the volumes asked for of an open run, on a grid of `box` voxels of `pixel_size` Å."""
    from libhetero.pipelines.decoding.class_files import write_own_classes
    from libhetero.pipelines.decoding.evaluation_folder import asked, evaluation_folder, write_record
    from libhetero.pipelines.decoding.points import PLANE
    from libhetero.pipelines.decoding.volume_files import FRAME, MOVIE, write_places, write_volumes
    from libhetero.pipelines.decoding.volumes import decoded_volumes
    from libhetero.telling.progress import tracked

    _refuse_ways_through_nothing(config, trained)
    label = _own_classes(config, trained)
    chosen = _chosen_points(config, trained, label)
    options = asked(config, trained.classes_folder / PLANE, trained.reached)
    folder = claims.enter_context(evaluation_folder(trained.folder, config, options))
    folder.mkdir(parents=True, exist_ok=True)
    side = config.crop or box
    needed = 4 * side**3 * len(chosen)  # beside those of before, which go when all are there
    require_space(folder, needed, f"{len(chosen)} volume(s)", "free some, ask for fewer, or choose another --output")
    if config.movie:
        frames = len(chosen) * (4 * min(side, FRAME) ** 3 + PICTURE_BYTES)
        require_memory(frames, f"--movie of {len(chosen)} volumes", "ask for fewer volumes (--steps)")
    LOGGER.info("%d volume(s) of %d³ voxels at %.4g Å", len(chosen), side, pixel_size)
    decoded = decoded_volumes(trained, chosen.latents, box, pixel_size, config.lowpass)
    decoded = tracked(decoded, len(chosen), "volumes", lambda one: 1, progress, "volumes")
    paths = [folder / f"{name}.{config.format}" for name in chosen.names]
    with replacing_set(folder):
        figure, script = write_volumes(trained, decoded, paths, pixel_size, config.crop, chosen, config.movie)
        table, plane = write_places(folder, trained, chosen)
        write_own_classes(folder, trained, label)
        write_record(folder, config, options, paths)
    movie = folder / MOVIE if config.movie else None
    return EvaluateResult(tuple(paths), figure, script, table, plane, movie)


def _grid(config: EvaluateConfig, box: int, pixel_size: float) -> tuple[int, float]:
    """Return box and pixel size, given or the run's; of a pixel size alone, the box covers the same length."""
    if config.pixel_size is not None and config.box_size is None:
        box = max(8, 2 * round(0.5 * box * pixel_size / config.pixel_size))
    box = config.box_size or box
    if config.crop is not None and config.crop > box:
        raise ConfigurationError(f"--crop {config.crop}: expected at most the box of {box} voxels.")
    if box > MOST_BOX:
        raise ConfigurationError(
            f"--apix {config.pixel_size:g}: gives a box of {box} voxels; expected at most {MOST_BOX}."
        )
    require_memory(VOLUME_BYTES * box**3, f"--box {box}", "choose a smaller box, or a larger --apix")
    return box, config.pixel_size or pixel_size


def _own_classes(config: EvaluateConfig, trained: Any) -> Any:
    """Return the classes that all particles are sorted into for an evaluation; None where it asks for others."""
    from libhetero.pipelines.decoding.class_files import classes_by_kmeans

    if config.all_classes is None:
        return None
    return classes_by_kmeans(trained, config.all_classes, config.seed, config.batch_size)


def _chosen_points(config: EvaluateConfig, trained: Any, label: Any) -> Any:
    """Return which volumes are asked for, as `libhetero.pipelines.decoding.points.VolumePoints`.

    Parameters
    ----------
    label : as `_own_classes` gives them.
    """
    from libhetero.pipelines.decoding import points
    from libhetero.pipelines.decoding.class_files import whole_classes

    batch_size = config.batch_size
    if config.particles is not None:
        return points.of_particles(trained, points.parse_particles(trained, config.particles), batch_size)
    if config.latent is not None:
        return points.of_latents(trained, config.latent, batch_size)
    if config.path is not None:
        anchors = points.parse_anchors(trained, config.path)
        return points.along_path(trained, anchors, value_of(config, "steps"), value_of(config, "route"), batch_size)
    if config.component is not None:
        return points.along_component(trained, config.component, value_of(config, "steps"), batch_size)
    if config.regions is not None:
        return _along_regions(config, trained)
    if config.grid is not None:
        return points.on_grid(trained, config.grid, value_of(config, "over"), batch_size)
    if label is None:
        label = whole_classes(cast(str, config.classes), trained.particles)  # the only way to choose that is left
    return points.of_classes(trained, label, value_of(config, "centre"), batch_size)


def _along_regions(config: EvaluateConfig, trained: Any) -> Any:
    """Return volumes along each region of a file, as `libhetero.pipelines.decoding.points.VolumePoints`."""
    from libhetero.pipelines.decoding.gaussians import neutral_gaussians
    from libhetero.pipelines.decoding.latents import particle_latents
    from libhetero.pipelines.decoding.points import along_coordinates
    from libhetero.pipelines.regions.files import check_mixture, read_labels
    from libhetero.pipelines.regions.particles import region_places
    from libhetero.tilts import one_image_each

    path, steps = cast(str, config.regions), value_of(config, "steps")
    neutral = neutral_gaussians(trained)
    label = read_labels(path, len(neutral.sigma))
    check_mixture(path, trained, neutral)
    first, shown = one_image_each(trained.particles)
    if steps > len(first):
        raise ConfigurationError(f"{named(config, 'steps')} {steps}: expected at most the {len(first)} particles.")
    latent = particle_latents(trained, config.batch_size)[first]
    places = region_places(trained, latent, label, config.batch_size, SegmentConfig.memory)
    names = [f"region_{number:02d}" for number in range(1, len(places) + 1)]
    of_images = {name: place[shown] for name, place in zip(names, places, strict=True)}
    return along_coordinates(trained, of_images, steps, config.batch_size)


def _refuse_ways_through_nothing(config: EvaluateConfig, trained: Any) -> None:
    """Refuse latent points, paths and grids of a run whose latents have no numbers."""
    from libhetero.pipelines.decoding.latents import shows_nothing

    asked_for = [
        flag
        for flag, value in (
            ("--regions", config.regions),
            ("--latent", config.latent),
            ("--path", config.path),
            ("--pc", config.component),
            ("--grid", config.grid),
        )
        if value is not None
    ]
    if shows_nothing(trained) and asked_for:
        raise ConfigurationError(
            f"{asked_for[0]}: nothing was found to change in {trained.folder}, so its particles have no latent numbers "
            "and one volume. Write that with --particles 0."
        )
