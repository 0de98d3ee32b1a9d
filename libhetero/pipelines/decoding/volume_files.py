"""Volumes of a run as files: maps, their mixtures, what each is, and where they lie among the particles."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from libhetero.files import remove_figures, remove_stale, replacing
from libhetero.io import write_gaussians, write_gaussians_pdb, write_latent, write_volume
from libhetero.physics.fourier import crop_volume
from libhetero.pipelines.decoding.points import VolumePoints, particle_plane, particle_plane_names
from libhetero.pipelines.decoding.volumes import crop_centre
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians
from libhetero.report.chimerax import write_series_script
from libhetero.report.embedding import draw_places
from libhetero.report.maps import MOST, draw_maps
from libhetero.report.movie import draw_movie

MOVIE, CHANGE = "volumes.gif", "volumes_change"
FRAME = 96  # voxels of a map in the moving picture, at most; all of them are in memory


def write_volumes(
    run: Run,
    decoded: Iterable[tuple[Float[np.ndarray, "n n n"], Gaussians | None]],
    paths: list[Path],
    pixel_size: float,
    crop: int | None,
    chosen: VolumePoints,
    movie: bool = False,
) -> tuple[Path, Path]:
    """Write every map as it comes, its Gaussians as .txt and .pdb, a figure of some, and a script that opens them all.

    Parameters
    ----------
    decoded : volumes, and the mixtures of a Gaussian run.
    paths : of the volumes, in one folder.
    pixel_size : Å.
    crop : voxels about the centre to keep; None for all.
    chosen : what each volume is.
    movie : whether they are a moving picture too, volumes.gif, and coloured by how much each voxel changes in the
        script, volumes_change.mrc; those of before go where it is not asked for.

    Returns
    -------
    The figure and the ChimeraX script.
    """
    shown = {int(place) for place in np.linspace(0, len(paths) - 1, min(len(paths), MOST))}
    names, pictures, frames, change = [], [], [], Change()
    for place, (path, (volume, mixture)) in enumerate(zip(paths, decoded, strict=True)):
        centre = (len(volume) // 2) * pixel_size
        volume, origin = crop_centre(volume, crop or len(volume), pixel_size)
        write_volume(path, volume, pixel_size, origin)
        if mixture is not None:
            _write_mixture(path, mixture, run, centre)
        if movie:
            change.add(volume)
            frames.append(np.asarray(crop_volume(volume, min(len(volume), FRAME))))
        if place in shown:
            names.append(path.stem if chosen.counts is None else f"{path.stem}\n{chosen.counts[place]} particles")
            pictures.append(volume)
    figure, script = (paths[0].with_name(f"volumes.{suffix}") for suffix in ("png", "cxc"))
    level = draw_maps(figure, pictures, names, pixel_size, len(paths))
    coloured = None
    remove_stale(figure.parent, MOVIE, f"{CHANGE}.*")
    if movie:
        draw_movie(figure.with_name(MOVIE), frames, [path.stem for path in paths], level)
        changing = figure.with_name(f"{CHANGE}{paths[0].suffix}")
        write_volume(changing, change.deviation.astype(np.float32), pixel_size, origin)
        coloured = changing.name, max(float(change.deviation.max()), 1e-30)
    write_series_script(script, [path.name for path in paths], level, chosen.joined, coloured)
    return figure, script


class Change:
    """Mean and standard deviation of volumes, voxel by voxel, as they come."""

    def __init__(self) -> None:
        self._count = 0
        self.mean: Float[np.ndarray, "n n n"] = np.zeros((0, 0, 0))
        self._squares: Float[np.ndarray, "n n n"] = np.zeros((0, 0, 0))

    def add(self, volume: Float[np.ndarray, "n n n"]) -> None:
        """Add one, by Welford's recurrence."""
        if self._count == 0:
            self.mean, self._squares = np.zeros(volume.shape), np.zeros(volume.shape)
        self._count += 1
        off = volume - self.mean
        self.mean += off / self._count
        off *= volume - self.mean
        self._squares += off

    @property
    def deviation(self) -> Float[np.ndarray, "n n n"]:
        """Standard deviation of the volumes so far."""
        return np.sqrt(self._squares / max(self._count, 1))


def write_places(folder: Path, run: Run, chosen: VolumePoints) -> tuple[Path, Path | None]:
    """Write what each volume is, its latent point where it is no particle's, and where it lies.

    Returns
    -------
    The table, and the figure of the plane; None where the particles are not embedded.
    """
    remove_stale(folder, "points.txt")
    remove_figures(folder, "volumes_plane.png")
    if chosen.points is not None:
        write_latent(folder / "points.txt", np.arange(len(chosen)), chosen.points)
    plane = particle_plane(run)
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
        draw_places(figure, plane, places, short, chosen.joined, particle_plane_names(run, plane))
    return table, figure


def _write_mixture(path: Path, mixture: Gaussians, run: Run, centre: float) -> None:
    """Write a mixture as EMAN2 text, for the run's own box, and as pseudo-atoms on the map.

    Parameters
    ----------
    centre : Å from the first voxel of the whole map to its middle.
    """
    write_gaussians(path.with_suffix(".txt"), mixture, run.model.box_size, run.model.pixel_size)
    write_gaussians_pdb(path.with_suffix(".pdb"), mixture, origin=(centre,) * 3)
