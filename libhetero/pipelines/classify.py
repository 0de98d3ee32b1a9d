"""Classes of a mixture of molecules from its images alone, poses and CTF known, and a map of each; no network."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from libhetero.configuration import check_options, option, same_as, words_of
from libhetero.configuration.limits import MOST_BATCH, MOST_CLASSES, MOST_SEED
from libhetero.errors import ConfigurationError
from libhetero.files import sweep
from libhetero.pipelines.make3d import check_folder_name
from libhetero.pipelines.run.data import DataConfig, ParticleListConfig
from libhetero.telling.stages import timed
from libhetero.training.configuration import PreprocessConfig

LOGGER = logging.getLogger(__name__)
READ_ANEW = "tilts", "dose", "dose_weighting", "no_ctf", "contrast"  # what no list says
MOST_NEAR = 45.0  # degrees: where poses may be further off, those of the list say nothing


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(ParticleListConfig):
    """Which particles, and how many classes of them."""

    output: str = option(positional="OUT", help="folder to write")
    no_ctf: bool = same_as(DataConfig, "no_ctf")
    contrast: int | None = same_as(PreprocessConfig, "contrast", None)
    box_size: int | None = same_as(PreprocessConfig, "box_size")
    classes: int | None = option(
        None,
        "--classes",
        metavar="K",
        least=1,
        most=MOST_CLASSES,
        help="classes at most; those that differ least are joined",
        shown_default="as many as they tell apart",
    )
    no_maps: bool = option(
        False,
        "--nomaps",
        help="no map of each class; e2hype_make3d.py --classes makes them later (of ptcls_refined with --refine_poses)",
    )
    refine_poses: bool = option(
        False,
        "--refine_poses",
        help="take the list's poses as wrong by a few degrees and pixels, by how much the particles say; refine each "
        "about the list's against the volumes of the classes, find the classes again, and write lists with both poses",
    )
    search_poses: float | None = option(
        None,
        "--search_poses",
        metavar="DEGREES",
        above=0,
        most=180,
        help="take the list's poses as wrong by as much as this; search each about the list's, against a map of all, "
        "then refine it as --refine_poses does. Above 45 all rotations are tried, also for a list that has no poses; "
        "without --reference the map is then found from nothing, and may be the mirror image",
    )
    reference: str | None = option(
        None,
        "--reference",
        metavar="MAP",
        path=True,
        goes_with=("search_poses",),
        help="map to begin the search with, of any box, pixel size and scale, protein white; low rings are read alone",
    )
    seed: int = option(0, "--seed", metavar="N", least=0, most=MOST_SEED, help="of where the search starts from")
    batch_size: int = option(
        256, "--batchsz", metavar="N", least=1, most=MOST_BATCH, help="images read or inserted at once"
    )

    def __post_init__(self) -> None:
        check_options(self)
        check_folder_name(self.output)
        for file, expected in ((self.particles, "a particle list"), (self.output, "another folder")):
            if (Path(file) / "config.json").is_file():
                raise ConfigurationError(
                    f"{file}: a run folder; expected {expected}. e2hype_embed.py --classes auto finds the classes of "
                    "a run."
                )

    @property
    def anywhere(self) -> bool:
        """Whether poses are searched for without looking at the list's."""
        return self.search_poses is not None and self.search_poses > MOST_NEAR

    def for_training(self, rewritten: bool) -> list[str]:
        """Return the options by which e2hype_refine.py reads the same particles.

        Parameters
        ----------
        rewritten : whether it is given a list that is written here, with poses, CTF and the images that were used.
        """
        return words_of(self, READ_ANEW if rewritten else (*self.listed(), *READ_ANEW))

    def data(self) -> DataConfig:
        """Return which particles of a list, and how their images are prepared."""
        return DataConfig(
            **self.listed(),
            no_ctf=self.no_ctf,
            absent_poses=self.anywhere,
            preprocess=PreprocessConfig(box_size=self.box_size),
        )


@dataclass(frozen=True)
class ClassifyResult:
    """What was found and written.

    Parameters
    ----------
    count : classes.
    junk : particles that show nothing.
    page : index.html, which links the rest.
    training : command that trains CryoHype from these classes.
    """

    count: int
    junk: int
    page: Path
    training: str


def run(config: ClassifyConfig, progress: Callable[[float], None] | None = None) -> ClassifyResult:
    """Find the classes, write them with lists and maps, and say how sure they are.

    Parameters
    ----------
    config : of which particles.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.files import remove_figures, remove_stale
    from libhetero.pipelines.classifying.files import write_classification
    from libhetero.pipelines.classifying.maps import class_maps, draw_class_maps
    from libhetero.pipelines.classifying.poses import first_map
    from libhetero.pipelines.classifying.record import Search, is_classification
    from libhetero.pipelines.classifying.so_far import SO_FAR, PosesSoFar
    from libhetero.pipelines.classifying.steps import Steps
    from libhetero.pipelines.maps.classes import FIGURE, TABLE, ClassMap, renewed_folder
    from libhetero.pipelines.maps.reconstructing import listed_feed

    advance: Callable[[float], None] = progress or (lambda fraction: None)
    _check_output(config.output, config.particles, is_classification, SO_FAR)
    data = config.data()
    feed = listed_feed(data, config.contrast)
    _check_series(config, feed.particles.group is not None)
    reference = None if config.reference is None else first_map(Path(config.reference), feed)
    search = Search(config.search_poses, config.anywhere, config.reference)
    refining = config.refine_poses or config.search_poses is not None
    steps = Steps(search, reference, refining, config.classes, config.seed, config.batch_size)
    share, so_far = 1.0 if config.no_maps else 0.7, PosesSoFar(Path(config.output), data)
    with so_far.told(), renewed_folder(config.output) as folder:
        remove_stale(folder, TABLE)
        remove_figures(folder, FIGURE)
        feed, found = steps.done(feed, so_far, lambda part: advance(share * part))
        maps: tuple[ClassMap, ...] = ()
        if not config.no_maps:
            with timed(LOGGER, "maps"):
                maps = class_maps(
                    feed, found, folder, config.batch_size, lambda done: advance(share + (1 - share) * done)
                )
        written = write_classification(folder, feed, data, found, maps, search, config.for_training)
        so_far.forget()
    draw_class_maps(folder, maps)
    return ClassifyResult(found.count, int(found.junk.sum()), written.page, written.training)


def _check_output(
    output: str, particles: str, is_classification: Callable[[str], bool], so_far: Collection[str]
) -> None:
    """Refuse a folder of other files than a classification, and poses of one that failed, are; and the list in it.

    What a killed program left hidden in it is put in order first.
    """
    folder = Path(output)
    if folder.is_dir():
        sweep(folder)
    if os.path.realpath(particles) in {os.path.realpath(folder / name) for name in so_far}:
        raise ConfigurationError(
            f"{output}: holds {particles}, which is replaced there by the poses that are found now; give another name."
        )
    others = folder.is_dir() and any(path.name not in so_far for path in folder.iterdir())
    if others and not is_classification(output):
        raise ConfigurationError(
            f"{output}: holds other files than those of a classification; expected a new folder, an empty one, "
            "or one of an earlier call. Give another name."
        )


def _check_series(config: ClassifyConfig, series: bool) -> None:
    """Refuse a search for poses where the particles are tilt series."""
    if config.search_poses is not None and series:
        raise ConfigurationError(
            f"--search_poses: {config.particles} lists tilt series, whose images are placed together, and each is too "
            "faint to be searched for alone; leave it out, or give --tilts apart."
        )
