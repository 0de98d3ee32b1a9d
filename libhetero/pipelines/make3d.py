"""Maps of particles with known poses: one of all, with half-maps and their correlation, or one of each class."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import asked, check_options, declared_options, named, number, option, same_as, value_of
from libhetero.configuration.limits import MOST_BATCH
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig
from libhetero.pipelines.evaluate import EvaluateConfig
from libhetero.pipelines.run.configuration import CONFIG
from libhetero.pipelines.run.data import PARTICLES, DataConfig, ParticleListConfig
from libhetero.pipelines.run.epoch_folder import run_and_epoch
from libhetero.telling.waiting import working
from libhetero.training.configuration import PreprocessConfig

LOGGER = logging.getLogger(__name__)
MAPS = (".mrc", ".hdf")
MOST_B_FACTOR = 10_000.0  # Å²


def _b_factor(text: str) -> float | str:
    """Return a B-factor in Å², or "auto"."""
    try:
        return text if text == "auto" else number(text)
    except ValueError:
        raise ValueError("expected auto, or a number of Å² such as -100") from None


def check_folder_name(output: str) -> None:
    """Refuse the name of a map for the folder of the maps of classes.

    Raises
    ------
    ConfigurationError : one line.
    """
    if Path(output).suffix in MAPS:
        raise ConfigurationError(f"{output}: expected a folder, as there is a map for each class; found a map's name.")


@dataclass(frozen=True, kw_only=True)
class Make3dConfig(ParticleListConfig):
    """Which particles, and of which of them a map is made."""

    particles: str = same_as(
        ParticleListConfig,
        "particles",
        help=".star, .cs, .lst, .hdf, .mrcs, .mrc or .txt; with --classes a run folder too",
    )
    output: str = option(positional="OUT", help="map to write, .mrc or .hdf; with --classes a folder")
    no_ctf: bool = same_as(DataConfig, "no_ctf")
    contrast: int | None = same_as(PreprocessConfig, "contrast", None)
    box_size: int | None = same_as(PreprocessConfig, "box_size")
    classes: str | None = option(
        None,
        "--classes",
        metavar="FILE",
        exclusive="subject",
        help="lines of particle index and class: a map for each class, -1 is none",
    )
    probabilities: str | None = option(
        None,
        "--probabilities",
        metavar="FILE",
        exclusive="subject",
        help="lines of particle index and the probability of each class, as e2hype_segment.py writes them: a map for "
        "each class, in which every image counts by its probability",
    )
    centre: str | None = same_as(
        EvaluateConfig,
        "centre",
        group="",
        goes_with=("classes",),
        help="with --classes of a run: its volume at the class's mean latent, or of the member nearest to it",
    )
    deform: str | None = option(
        None,
        "--deform",
        metavar="RUN",
        path=True,
        exclusive="subject",
        help="a Gaussian run of these particles: every image is put back along the displacements of the Gaussians that "
        "it decodes for the particle, so that pieces that move are as sharp as those that do not; in any box",
    )
    symmetry: str = same_as(GmmConfig, "symmetry", group="", help="symmetry: c4, d2, t, o, i …")
    mask: str | None = option(
        None,
        "--mask",
        metavar="MAP",
        help="also give the half-maps' FSC within this mask, corrected for the mask's own by random phases",
    )
    b_factor: float | str | None = option(
        None,
        "--bfactor",
        metavar="auto|Å²",
        parse=_b_factor,
        least=-MOST_B_FACTOR,
        most=MOST_B_FACTOR,
        help="also write OUT_sharpened, with this B-factor, below 0 to sharpen; auto measures it between 10 Å and the "
        "resolution",
    )
    local_resolution: bool = option(
        False,
        "--local_resolution",
        help="also write OUT_local_resolution: at every voxel the Å to which the half-maps agree about it, in soft "
        "windows 7 times the resolution wide (FSC 0.5)",
    )
    batch_size: int = option(64, "--batchsz", metavar="N", least=1, most=MOST_BATCH, help="images inserted at once")

    def __post_init__(self) -> None:
        check_options(self)
        if self.classes is not None:
            self._check_classes()
        elif self.probabilities is not None:
            self._check_list()
            check_folder_name(self.output)
        else:
            self._check_list()
            self._check_map_name()

    @property
    def of_run(self) -> bool:
        """Whether the particles are those of a run folder, as it saw them."""
        return (run_and_epoch(self.particles)[0] / CONFIG).is_file()

    def data(self) -> DataConfig:
        """Return which particles of a list, and how their images are cropped."""
        preparation = PreprocessConfig(box_size=self.box_size, normalise="none")  # a map has the images' grey scale
        return DataConfig(**self.listed(), no_ctf=self.no_ctf, preprocess=preparation)

    def _check_list(self) -> None:
        if self.of_run:
            raise ConfigurationError(
                f"{self.particles}: a run folder; expected a particle list, or --classes to reconstruct the run's "
                "classes."
            )

    def _check_map_name(self) -> None:
        if Path(self.output).suffix not in MAPS:
            raise ConfigurationError(f"{self.output}: expected a map name ending in {' or '.join(MAPS)}.")

    def _check_classes(self) -> None:
        of_list = [
            named(self, field.name)
            for field, said in declared_options(self)
            if said.group == PARTICLES and asked(self, field.name)
        ]
        if self.of_run and of_list:
            raise ConfigurationError(
                f"{self.particles}: a run folder, whose particles are prepared as they were in training; leave out the "
                f"options of a list ({', '.join(of_list)})."
            )
        if self.centre is not None and not self.of_run:
            raise ConfigurationError(
                "--centre is of a run's volumes; leave it out, or give the run folder in place of the list."
            )
        check_folder_name(self.output)


@dataclass(frozen=True)
class Make3dResult:
    """What was written.

    Parameters
    ----------
    maps : one, or one for each class in rising order; half-maps and their correlations lie beside.
    figure : of all correlations.
    table : text file of the classes' particles and resolutions; None without classes.
    """

    maps: tuple[Path, ...]
    figure: Path
    table: Path | None = None


def run(config: Make3dConfig, progress: Callable[[float], None] | None = None) -> Make3dResult:
    """Reconstruct; write maps, half-maps and their correlation, and say the resolution.

    Parameters
    ----------
    config : what to reconstruct.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    if config.classes is not None:
        return _class_maps(config, config.classes, progress)
    if config.probabilities is not None:
        return _weighted_maps(config, config.probabilities, progress)
    return _one_map(config, progress)


def _one_map(config: Make3dConfig, progress: Callable[[float], None] | None) -> Make3dResult:
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    import numpy as np

    from libhetero.files import check_folder, replacing_set
    from libhetero.pipelines.maps.curves import draw_fsc_of_map
    from libhetero.pipelines.maps.postprocess import postprocessed
    from libhetero.pipelines.maps.reconstructing import listed_feed, reconstruct_some, write_maps
    from libhetero.pipelines.maps.room import require_room

    output = Path(config.output)
    check_folder(output)
    feed = listed_feed(config.data(), config.contrast)
    require_room(feed.box_size)
    wanted = _wanted(config, feed)
    deformation, weights = None, None
    if config.deform is not None:
        from libhetero.pipelines.maps.deforming import deformation_of
        from libhetero.pipelines.maps.junk import molecule_weights

        # The latents that say how particles move may have to be found first, and with them what the run knows of junk.
        deformation = deformation_of(config.deform, feed, config.particles, config.batch_size, config.symmetry)
        weights = molecule_weights(feed.particles, config.particles, Path(config.deform))
    made = reconstruct_some(
        feed, np.arange(len(feed)), config.batch_size, config.symmetry, "reconstructing", progress, weights, deformation
    )
    with working(LOGGER.info, f"{output}: FSC in the mask, sharpening, local resolution"):
        found = postprocessed(made, feed.pixel_size, wanted)
    with replacing_set(output.parent):
        write_maps(output, made, feed.pixel_size, found.curves, found.maps)
        figure = draw_fsc_of_map(output, made.fsc, found, feed.pixel_size)
    LOGGER.info("%s: %d particles, %s", output, made.particles, found.text)
    return Make3dResult((output,), figure)


def _wanted(config: Make3dConfig, feed: Any) -> Any:
    """Return what is wanted besides the map, as `libhetero.pipelines.maps.postprocess.Postprocessing`."""
    from libhetero.pipelines.maps.masks import mask_in_box
    from libhetero.pipelines.maps.postprocess import Postprocessing

    mask = None if config.mask is None else mask_in_box(config.mask, feed.box_size, feed.pixel_size)
    return Postprocessing(mask, config.b_factor, config.local_resolution)


def _as_listed(trained: Any) -> Any:
    """Return the particles of a `libhetero.pipelines.run.folder.Run`, at the poses of its lists."""
    from libhetero.pipelines.decoding.particle_findings import particles_as_found

    return dataclasses.replace(trained.feed(), particles=particles_as_found(trained))


def _class_maps(config: Make3dConfig, classes_file: str, progress: Callable[[float], None] | None) -> Make3dResult:
    from libhetero.pipelines.decoding.class_files import whole_classes
    from libhetero.pipelines.maps import classes
    from libhetero.pipelines.maps.reconstructing import listed_feed
    from libhetero.pipelines.maps.room import require_room
    from libhetero.pipelines.run.folder import open_run

    trained = open_run(config.particles) if config.of_run else None
    feed = listed_feed(config.data(), config.contrast) if trained is None else _as_listed(trained)
    require_room(feed.box_size)
    label, networks, wanted = whole_classes(classes_file, feed.particles), None, _wanted(config, feed)
    with classes.renewed_folder(config.output) as folder:
        if trained is not None:
            networks = classes.network_volumes(trained, label, value_of(config, "centre"), config.batch_size)
        found = tuple(
            classes.reconstruct_classes(
                feed, label, networks, folder, config.batch_size, config.symmetry, progress, wanted
            )
        )
        table, figure = classes.write_summary(folder, found, feed.pixel_size)
    return Make3dResult(tuple(folder / f"{item.name}.mrc" for item in found), figure, table)


def _weighted_maps(
    config: Make3dConfig, probabilities_file: str, progress: Callable[[float], None] | None
) -> Make3dResult:
    from libhetero.pipelines.decoding.class_files import whole_probabilities
    from libhetero.pipelines.maps import classes
    from libhetero.pipelines.maps.junk import molecule_weights
    from libhetero.pipelines.maps.reconstructing import listed_feed
    from libhetero.pipelines.maps.room import require_room
    from libhetero.pipelines.run.kept import run_of

    feed = listed_feed(config.data(), config.contrast)
    require_room(feed.box_size)
    probabilities, wanted = whole_probabilities(probabilities_file, feed.particles), _wanted(config, feed)
    weights = molecule_weights(feed.particles, config.particles, run_of(Path(probabilities_file).parent))
    if weights is not None:
        probabilities = probabilities * weights[:, None]
    with classes.renewed_folder(config.output) as folder:
        found = tuple(
            classes.reconstruct_weighted(
                feed, probabilities, folder, config.batch_size, config.symmetry, progress, wanted
            )
        )
        table, figure = classes.write_summary(folder, found, feed.pixel_size)
    return Make3dResult(tuple(folder / f"{item.name}.mrc" for item in found), figure, table)
