"""A map for each class of particles, and how far a run's own volume agrees with it.

Every image belongs to one class, so that class after class reads every image once, as one pass over all
classes would, with the sums of one class in memory rather than those of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.classes import class_members
from libhetero.errors import DataError
from libhetero.files import replacing, replacing_set
from libhetero.io import write_volume
from libhetero.metrics.fsc import described_resolution, masked_fsc, resolution
from libhetero.metrics.threshold import offset_to_truth
from libhetero.pipelines.decoding.class_files import class_names, remove_class_files
from libhetero.pipelines.decoding.points import of_classes
from libhetero.pipelines.decoding.volumes import decoded_volumes
from libhetero.pipelines.maps.curves import read_off
from libhetero.pipelines.maps.postprocess import HALF_MAPS, Postprocessing, postprocessed
from libhetero.pipelines.maps.reconstructing import reconstruct_some, write_maps
from libhetero.pipelines.run.folder import Run
from libhetero.reconstruction.backproject import Reconstruction
from libhetero.report.fsc import draw_class_fsc
from libhetero.telling.progress import part_of
from libhetero.telling.waiting import working
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
TABLE, FIGURE = "resolution.txt", "fsc.png"
NETWORK = 0.5  # where the correlation with the network's volume is read off: the signal-to-noise ratio of HALF_MAPS
NOTHING_MORE = Postprocessing()
NEGLIGIBLE = 1e-3  # probability of a class


@dataclass(frozen=True, eq=False)
class ClassMap:
    """What is known of one class.

    Parameters
    ----------
    name : of its files, class_03.
    particles : how many.
    half_maps : (shells,) FSC of the half-maps; with a mask the corrected one.
    network : (shells,) FSC of the run's volume and the map; None without a run.
    """

    name: str
    particles: int
    half_maps: Float[np.ndarray, "shells"]
    network: Float[np.ndarray, "shells"] | None = None

    @property
    def number(self) -> int:
        """Number of the class, from 0."""
        return int(self.name.removeprefix("class_"))


@contextmanager
def renewed_folder(output: str) -> Iterator[Path]:
    """Make the folder of the maps; in the end those written take the place of an earlier call's, all together."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing_set(folder):
        if (folder / TABLE).exists():
            remove_class_files(folder, "class", ".mrc", "_fsc.txt")
        yield folder


def network_volumes(
    run: Run, label: Int[np.ndarray, "particles"], centre: str, batch_size: int
) -> Iterator[Float[np.ndarray, "n n n"]]:
    """Yield the run's own volume of each class, in the images' box and on the stack's grey scale.

    Parameters
    ----------
    label : class of every particle, -1 for none.
    centre : of a class in the run's latent, "mean" or "medoid".
    batch_size : particles encoded at once.
    """
    points = of_classes(run, label, centre, batch_size)
    for volume, _ in decoded_volumes(run, points.latents, run.model.box_size, run.model.pixel_size):
        yield volume * np.float32(run.config.data.preprocess.grey_scale)


def reconstruct_classes(
    feed: ParticleFeed,
    label: Int[np.ndarray, "particles"],
    networks: Iterator[Float[np.ndarray, "n n n"]] | None,
    folder: Path,
    batch_size: int,
    symmetry: str,
    progress: Callable[[float], None] | None,
    wanted: Postprocessing = NOTHING_MORE,
) -> Iterator[ClassMap]:
    """Reconstruct, write and yield class after class.

    Parameters
    ----------
    feed : the particles.
    label : class of each, -1 for none.
    networks : the run's own volume of each class, to compare with; None for no comparison.
    folder : to write into.
    batch_size : images inserted at once.
    symmetry : of the structures, "c4" …
    progress : called with the fraction done.
    wanted : besides the maps.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    done = 0
    total, names = int((label >= 0).sum()), class_names(label)
    for one, members in class_members(label).items():
        made = reconstruct_some(
            feed, members, batch_size, symmetry, names[one], part_of(advance, done / total, len(members) / total)
        )
        done += len(members)
        network = None if networks is None else next(networks)
        yield _written(folder / f"{names[one]}.mrc", made, network, feed.pixel_size, wanted)


def reconstruct_weighted(
    feed: ParticleFeed,
    probabilities: Float[np.ndarray, "particles classes"],
    folder: Path,
    batch_size: int,
    symmetry: str,
    progress: Callable[[float], None] | None,
    wanted: Postprocessing = NOTHING_MORE,
) -> Iterator[ClassMap]:
    """Reconstruct, write and yield a map of each class, in which every image counts by its probability.

    Parameters
    ----------
    feed : the particles.
    probabilities : of each class, for each particle; images below `NEGLIGIBLE` are not read.
    folder, batch_size, symmetry, progress, wanted : as in `reconstruct_classes`.

    Raises
    ------
    DataError : where a class has no particle.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    chosen = [np.flatnonzero(column >= NEGLIGIBLE) for column in probabilities.T]
    names = class_names(np.arange(len(chosen)))
    done, total = 0, max(sum(map(len, chosen)), 1)
    for one, members in enumerate(chosen):
        if not len(members):
            raise DataError(
                f"class {one}: no particle has a probability of {NEGLIGIBLE:g} or more, less that of being junk where "
                "the list states it; expected some. Take the class out of the table."
            )
        told = part_of(advance, done / total, len(members) / total)
        weights = probabilities[:, one]
        made = reconstruct_some(feed, members, batch_size, symmetry, names[one], told, weights)
        done += len(members)
        yield _written(folder / f"{names[one]}.mrc", made, None, feed.pixel_size, wanted)


def write_summary(folder: Path, found: Sequence[ClassMap], pixel_size: float) -> tuple[Path, Path]:
    """Write the table of resolutions and draw the correlations of all classes; return both files."""
    table, figure = folder / TABLE, folder / FIGURE
    _write_table(table, found, pixel_size)
    curves = [{item.name: read_off(item.half_maps, HALF_MAPS, pixel_size, item.number) for item in found}]
    if found[0].network is not None:
        compared = [(item, item.network) for item in found if item.network is not None]
        curves.append({item.name: read_off(fsc, NETWORK, pixel_size, item.number) for item, fsc in compared})
    draw_class_fsc(figure, *curves, pixel_size=pixel_size)
    return table, figure


def _written(
    path: Path,
    made: Reconstruction,
    network: Float[np.ndarray, "n n n"] | None,
    pixel_size: float,
    wanted: Postprocessing,
) -> ClassMap:
    """Write one class, say its resolution, and return what the table needs."""
    with working(LOGGER.info, f"{path.stem}: FSC in the mask, sharpening, local resolution"):
        found = postprocessed(made, pixel_size, wanted)
    fsc = None
    curves, text = dict(found.curves), found.text
    if network is not None:
        write_volume(path.with_name(f"{path.stem}_network.mrc"), network, pixel_size)
        fsc = masked_fsc(offset_to_truth(network, made.volume), made.volume)
        curves["FSC of the network's volume and the map"] = fsc
        text += f", the network's volume and the map to {described_resolution(fsc, NETWORK, pixel_size)}"
    write_maps(path, made, pixel_size, curves, found.maps)
    LOGGER.info("%s: %d particles, %s", path.stem, made.particles, text)
    return ClassMap(path.stem, made.particles, found.fsc, fsc)


def _write_table(path: Path, found: Sequence[ClassMap], pixel_size: float) -> None:
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
