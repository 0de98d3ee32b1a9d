"""Volumes of a run: of particles, of classes, of points in latent space, along paths and on grids."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.analysis.classes import kmeans_classes
from libhetero.errors import ConfigurationError
from libhetero.files import replacing
from libhetero.io import write_gaussians, write_gaussians_pdb, write_latent, write_volume
from libhetero.pipelines.decoding.class_files import whole_classes, write_classes
from libhetero.pipelines.decoding.latents import check_indices, particle_latents
from libhetero.pipelines.decoding.points import (
    CENTRES,
    GRIDS,
    ROUTES,
    VolumePoints,
    along_path,
    of_classes,
    of_latents,
    of_particles,
    on_grid,
    parse_anchors,
    particle_plane,
)
from libhetero.pipelines.decoding.volumes import crop_centre, decoded_volumes
from libhetero.pipelines.embed import check_at_least, check_choice
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.records import Gaussians
from libhetero.report.embedding import draw_places
from libhetero.report.maps import MOST, draw_maps
from libhetero.telling.progress import tracked

LOGGER = logging.getLogger(__name__)
FORMATS = ("mrc", "hdf")
STEPS = 10
WHICH = ("particles", "classes", "latent", "all_classes", "path", "grid")
OF = {"steps": ("path",), "route": ("path",), "over": ("grid",), "centre": ("classes", "all_classes")}


@dataclass(frozen=True)
class EvaluateConfig:
    """Which volumes, on which grid. Exactly one of the first six is given.

    Parameters
    ----------
    folder : a run folder.
    particles : indices of particles; one volume each.
    classes : file of particle index and class; one volume each class.
    latent : file of latent points, as `mid_00.txt`; one volume each.
    all_classes : number of k-means classes of all particles; one volume each.
    path : indices of two or more particles, with volumes on the way from each to the next.
    grid : points along each side of a grid; one volume each.
    centre : of classes: their "mean" latent (None means that) or their "medoid", a member.
    steps : of a path, from each particle to the next; None for 10.
    route : of a path, "graph" (None means that) from neighbour to neighbour, or "direct", a straight line.
    over : of a grid, "pc" (None means that), two principal components, or "plane", the embedding.
    box_size : voxels; None for the run's.
    pixel_size : Å; None for the run's.
    lowpass : resolution to filter to, Å; None to leave the volumes as they are.
    crop : voxels about the centre to keep in the end; None for all.
    format : "mrc" or "hdf".
    output : folder to write into; None for `volumes` in the run folder.
    seed : of k-means.
    batch_size : particles encoded at once.
    """

    folder: str
    particles: tuple[int, ...] | None = None
    classes: str | None = None
    latent: str | None = None
    all_classes: int | None = None
    path: tuple[int, ...] | None = None
    grid: int | None = None
    centre: str | None = None
    steps: int | None = None
    route: str | None = None
    over: str | None = None
    box_size: int | None = None
    pixel_size: float | None = None
    lowpass: float | None = None
    crop: int | None = None
    format: str = "mrc"
    output: str | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        self._check_which()
        check_choice("format", self.format, FORMATS)
        for name, least in (
            ("all_classes", 1),
            ("grid", 2),
            ("steps", 1),
            ("box_size", 8),
            ("crop", 2),
            ("batch_size", 1),
        ):
            value = getattr(self, name)
            if value is not None:
                check_at_least(name, value, least)
        for name in ("box_size", "crop"):
            value = getattr(self, name)
            if value is not None and value % 2:
                raise ConfigurationError(f"{name}: expected an even number, got {value}.")
        for name in ("pixel_size", "lowpass"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"{name}: expected Å above 0, got {value:g}.")

    def _check_which(self) -> None:
        """Refuse no choice of volumes, two of them, and options of another one."""
        chosen = [name for name in WHICH if getattr(self, name) is not None]
        options = {name: "--" + name.replace("_", "-") for name in WHICH}
        if len(chosen) != 1:
            raise ConfigurationError(f"which volumes? Expected one of {', '.join(options.values())}.")
        for name, subjects in OF.items():
            if getattr(self, name) is not None and chosen[0] not in subjects:
                expected = " or ".join(options[subject] for subject in subjects)
                raise ConfigurationError(f"--{name} goes with {expected}; leave it out with {options[chosen[0]]}.")
        choices = (("centre", CENTRES), ("route", ROUTES), ("over", GRIDS))
        for name, allowed in choices:
            check_choice(name, getattr(self, name) or allowed[0], allowed)
        if self.path is not None and len(self.path) < 2:
            raise ConfigurationError(f"--path: expected two or more particles, such as 5,120; got {len(self.path)}.")


@dataclass(frozen=True)
class EvaluateResult:
    """What was written.

    Parameters
    ----------
    volumes : one path a volume.
    figure : montage of the first eight, spread over all.
    table : text file that says what each volume is.
    plane : figure of where they lie among the particles; None where these are not embedded.
    """

    volumes: tuple[Path, ...]
    figure: Path
    table: Path
    plane: Path | None


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
    trained = open_run(config.folder)
    box, pixel_size = _grid(config, trained)
    chosen = _selection(config, trained)
    folder = trained.folder / "volumes" if config.output is None else Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    LOGGER.info("%d volume(s) of %d³ voxels at %.4g Å", len(chosen), config.crop or box, pixel_size)
    shown = {int(place) for place in np.linspace(0, len(chosen) - 1, min(len(chosen), MOST))}
    paths, pictures = [], []
    decoded = decoded_volumes(trained, chosen.latents, box, pixel_size, config.lowpass)
    for volume, mixture in tracked(decoded, len(chosen), "volumes", lambda one: 1, progress):
        name = chosen.names[len(paths)]
        volume, origin = crop_centre(volume, config.crop or box, pixel_size)
        if len(paths) in shown:
            pictures.append((name, volume))
        paths.append(folder / f"{name}.{config.format}")
        write_volume(paths[-1], volume, pixel_size, origin)
        if mixture is not None:
            _write_gaussians(folder / name, mixture, trained, (box // 2) * pixel_size)
    names, volumes = zip(*pictures, strict=True)
    figure = folder / "volumes.png"
    draw_maps(figure, volumes, names)
    return EvaluateResult(tuple(paths), figure, *_write_places(folder, trained, chosen))


def _write_places(folder: Path, trained: Run, chosen: VolumePoints) -> tuple[Path, Path | None]:
    """Write what each volume is, its latent point where it is no particle's, and where it lies."""
    for stale in ("points.txt", "volumes_plane.png"):
        (folder / stale).unlink(missing_ok=True)
    if chosen.points is not None:
        write_latent(folder / "points.txt", np.arange(len(chosen)), chosen.points)
    plane = particle_plane(trained)
    table, figure = folder / "volumes.txt", None
    places = np.full((len(chosen), 2), np.nan) if plane is None else plane[chosen.particle]
    with replacing(table) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write("# volume  particle (it is, or the nearest)  its distance in the latent  x  y of it\n")
        for name, particle, distance, (x, y) in zip(
            chosen.names, chosen.particle, chosen.distance, places, strict=True
        ):
            file.write(f"{name} {particle} {distance:.4g} {x:.4f} {y:.4f}\n")
    if plane is not None:
        figure = folder / "volumes_plane.png"
        short = [",".join(f"{int(part)}" for part in name.split("_")[1:]) for name in chosen.names]
        draw_places(figure, plane, places, short, chosen.joined)
    return table, figure


def _grid(config: EvaluateConfig, trained: Run) -> tuple[int, float]:
    """Return box and pixel size; with only the pixel size given, the box covers the same length."""
    box, pixel_size = trained.model.box_size, trained.model.pixel_size
    if config.pixel_size is not None and config.box_size is None:
        box = max(8, 2 * round(0.5 * box * pixel_size / config.pixel_size))
    box = config.box_size or box
    if config.crop is not None and config.crop > box:
        raise ConfigurationError(f"--crop {config.crop}: expected at most the box of {box} voxels.")
    return box, config.pixel_size or pixel_size


def _selection(config: EvaluateConfig, trained: Run) -> VolumePoints:
    """Return which volumes are asked for."""
    count, batch_size = len(trained.particles), config.batch_size
    if config.particles is not None:
        indices = check_indices(np.array(config.particles), count, "--particles")
        return of_particles(trained, indices, batch_size)
    if config.latent is not None:
        return of_latents(trained, config.latent, batch_size)
    if config.path is not None:
        anchors = parse_anchors(trained, config.path)
        steps, route = config.steps or STEPS, config.route or ROUTES[0]
        return along_path(trained, anchors, steps, route, batch_size)
    if config.grid is not None:
        return on_grid(trained, config.grid, config.over or GRIDS[0], batch_size)
    if config.classes is not None:
        label = whole_classes(config.classes, count)
    else:
        latent = particle_latents(trained, batch_size)
        label = kmeans_classes(latent, config.all_classes, config.seed)
        path = trained.folder / f"classes_{config.all_classes:02d}.txt"
        write_classes(path, np.arange(count), label)
        LOGGER.info("wrote %s", path)
    return of_classes(trained, label, config.centre or CENTRES[0], batch_size)


def _write_gaussians(stem: Path, mixture: Gaussians, trained: Run, centre: float) -> None:
    """Write a mixture as EMAN2 text, for the run's own box, and as pseudo-atoms on the map.

    Parameters
    ----------
    centre : Å from the first voxel of the whole map to its middle.
    """
    model = trained.model
    write_gaussians(stem.with_suffix(".txt"), mixture, model.box_size, model.pixel_size)
    write_gaussians_pdb(stem.with_suffix(".pdb"), mixture, origin=(centre,) * 3)
