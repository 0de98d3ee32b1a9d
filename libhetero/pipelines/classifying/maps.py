"""A map of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from libhetero.files import remove_figures, remove_stale
from libhetero.io import read_volume
from libhetero.pipelines.classifying.search import Classification
from libhetero.pipelines.maps.classes import ClassMap, reconstruct_classes, write_summary
from libhetero.report.chimerax import write_series_script
from libhetero.report.maps import draw_maps
from libhetero.training.feed import ParticleFeed

FIGURE, SCRIPT = "volumes.png", "volumes.cxc"
SHOWN, OPENED = 8, 24  # of the largest classes, in the figure and by the script


def class_maps(
    feed: ParticleFeed, found: Classification, folder: Path, batch_size: int, progress: Callable[[float], None]
) -> tuple[ClassMap, ...]:
    """Reconstruct each class, write maps, half-maps and their correlations; return what is known of each.

    Parameters
    ----------
    feed : the particles.
    found : their classes.
    folder : to write into.
    batch_size : images inserted at once.
    progress : called with the fraction done.
    """
    maps = tuple(reconstruct_classes(feed, found.label, None, folder, batch_size, "c1", progress))
    write_summary(folder, maps, feed.pixel_size)
    return maps


def draw_class_maps(folder: Path, maps: Sequence[ClassMap]) -> None:
    """Draw the maps of the largest classes, once they are in their folder, and write a ChimeraX script of them.

    Without maps, an earlier figure and script are removed.
    """
    if not maps:
        remove_stale(folder, SCRIPT)
        remove_figures(folder, FIGURE)
        return
    volumes, pixel_sizes = zip(*(read_volume(folder / f"{one.name}.mrc") for one in maps[:SHOWN]), strict=True)
    names = [f"{one.name}\n{one.particles} particles" for one in maps[:SHOWN]]
    level = draw_maps(folder / FIGURE, volumes, names, pixel_sizes[0], len(maps))
    write_series_script(folder / SCRIPT, [f"{one.name}.mrc" for one in maps[:OPENED]], level, joined=False)
