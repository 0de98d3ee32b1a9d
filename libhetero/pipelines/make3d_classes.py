"""A map for each class of particles, with half-maps, and how far a run's own volume agrees with it.

Every image belongs to one class, so that class after class reads every image once, as one pass over all
classes would, with the sums of one class in memory rather than those of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.classes import class_members
from libhetero.errors import ConfigurationError
from libhetero.files import replacing
from libhetero.io import write_volume
from libhetero.metrics.fsc import masked_fsc, resolution
from libhetero.metrics.threshold import offset_to_truth
from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.decoding.class_files import class_names, remove_class_files, whole_classes
from libhetero.pipelines.decoding.points import CENTRES, of_classes
from libhetero.pipelines.decoding.volumes import decoded_volumes
from libhetero.pipelines.embed import check_at_least, check_choice
from libhetero.pipelines.make3d import listed_feed, reconstruct_some, write_maps
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.reconstruction.backproject import Reconstruction
from libhetero.report.fsc import draw_class_fsc
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
TABLE = "resolution.txt"
HALF_MAPS, NETWORK = 0.143, 0.5  # where correlations are read off; one signal-to-noise ratio


@dataclass(frozen=True)
class ClassMapsConfig:
    """What was asked for. Either `data` or `run` is given.

    Parameters
    ----------
    classes : file of particle index and class; -1 is no class.
    output : folder to write into.
    data : which particles; None for those of the run.
    run : run folder, whose own volumes are compared with the maps; None for no comparison.
    centre : of a class in the run's latent, "mean" (None means that) or "medoid".
    contrast : 1 or -1 to decide it, None to estimate it; the run's own with `run`.
    batch_size : images inserted at once.
    seed : of the sample that contrast and normalisation are measured on.
    symmetry : of the structures, "c4" …
    """

    classes: str
    output: str
    data: DataConfig | None = None
    run: str | None = None
    centre: str | None = None
    contrast: int | None = None
    batch_size: int = 64
    seed: int = 0
    symmetry: str = "c1"

    def __post_init__(self) -> None:
        symmetry_operators(self.symmetry)
        check_choice("centre", self.centre or CENTRES[0], CENTRES)
        check_at_least("--batchsz", self.batch_size, 1)
        if (self.data is None) == (self.run is None):
            raise ConfigurationError("which particles? Expected either a list or a run folder.")
        if self.centre is not None and self.run is None:
            raise ConfigurationError(
                "--centre is of a run's volumes; leave it out, or give the run folder in place of the list."
            )
        if Path(self.output).suffix in (".mrc", ".hdf"):
            raise ConfigurationError(
                f"{self.output}: expected a folder, as there is a map for each class; found a map's name."
            )


@dataclass(frozen=True, eq=False)
class ClassMap:
    """What is known of one class.

    Parameters
    ----------
    name : of its files, class_03.
    particles : how many.
    half_maps : (shells,) FSC of the half-maps.
    network : (shells,) FSC of the run's volume and the map; None without a run.
    """

    name: str
    particles: int
    half_maps: Float[np.ndarray, "shells"]
    network: Float[np.ndarray, "shells"] | None = None


@dataclass(frozen=True, eq=False)
class ClassMapsResult:
    """What was written.

    Parameters
    ----------
    classes : one each, in rising order.
    table : text file of particles and resolutions.
    figure : of all correlations.
    """

    classes: tuple[ClassMap, ...]
    table: Path
    figure: Path


def run(config: ClassMapsConfig, progress: Callable[[float], None] | None = None) -> ClassMapsResult:
    """Reconstruct every class and write maps, half-maps, correlations, a table and a figure.

    Parameters
    ----------
    config : what to reconstruct.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    trained = None if config.run is None else open_run(config.run)
    if trained is None:
        feed = listed_feed(config.data, config.contrast, config.seed)
    else:
        feed = trained.feed()
    label = whole_classes(config.classes, len(feed))
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / TABLE).exists():  # an earlier call's, of other classes perhaps
        remove_class_files(folder, "class", ".mrc", "_fsc.txt")
    networks = None
    if trained is not None:
        networks = _networks(trained, label, config)
    found = tuple(_classes(feed, label, networks, folder, config, progress))
    table, figure = folder / TABLE, folder / "fsc.png"
    _write_table(table, found, feed.pixel_size)
    curves = [{item.name: item.half_maps for item in found}]
    if trained is not None:
        curves.append({item.name: item.network for item in found})
    draw_class_fsc(figure, *curves, pixel_size=feed.pixel_size)
    return ClassMapsResult(found, table, figure)


def _networks(
    trained: Run, label: Int[np.ndarray, "particles"], config: ClassMapsConfig
) -> Iterator[Float[np.ndarray, "n n n"]]:
    """Yield the run's own volume of each class, in the images' box."""
    model = trained.model
    points = of_classes(trained, label, config.centre or CENTRES[0], config.batch_size)
    for volume, _ in decoded_volumes(trained, points.latents, model.box_size, model.pixel_size):
        yield volume


def _classes(
    feed: ParticleFeed,
    label: Int[np.ndarray, "particles"],
    networks: Iterator[np.ndarray] | None,
    folder: Path,
    config: ClassMapsConfig,
    progress: Callable[[float], None] | None,
) -> Iterator[ClassMap]:
    """Reconstruct, write and yield class after class."""
    advance, done = progress or (lambda fraction: None), 0
    total, names = int((label >= 0).sum()), class_names(label)
    for one, members in class_members(label).items():
        made = reconstruct_some(
            feed,
            members,
            config.batch_size,
            config.symmetry,
            names[one],
            lambda part, done=done, members=members: advance((done + part * len(members)) / total),
        )
        done += len(members)
        network = None if networks is None else next(networks)
        yield _written(folder / f"{names[one]}.mrc", made, network, feed.pixel_size)


def _written(path: Path, made: Reconstruction, network: np.ndarray | None, pixel_size: float) -> ClassMap:
    """Write one class, say its resolution, and return what the table needs."""
    curves, fsc = {}, None
    text = f"half-maps agree to {resolution(made.fsc, HALF_MAPS, pixel_size):.3g} Å"
    if network is not None:
        write_volume(path.with_name(f"{path.stem}_network.mrc"), network, pixel_size)
        fsc = masked_fsc(offset_to_truth(network, made.volume), made.volume)
        curves["FSC of the network's volume and the map"] = fsc
        text += f", the network's volume and the map to {resolution(fsc, NETWORK, pixel_size):.3g} Å"
    write_maps(path, made, pixel_size, curves)
    LOGGER.info("%s: %d particles, %s", path.stem, made.particles, text)
    return ClassMap(path.stem, made.particles, made.fsc, fsc)


def _write_table(path: Path, found: tuple[ClassMap, ...], pixel_size: float) -> None:
    """Write class, particles and resolutions, a line each."""
    header = f"# class  particles  half-maps, FSC {HALF_MAPS} (A)"
    if found[0].network is not None:
        header += f"  network and map, FSC {NETWORK} (A)"
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write(header + "\n")
        for item in found:
            cells = [item.name, str(item.particles)]
            cells.append(f"{resolution(item.half_maps, HALF_MAPS, pixel_size):.2f}")
            if item.network is not None:
                cells.append(f"{resolution(item.network, NETWORK, pixel_size):.2f}")
            file.write(" ".join(cells) + "\n")
