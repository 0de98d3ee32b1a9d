"""Volumes of a run: of particles, of classes, or of points in latent space."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from libhetero.analysis.classes import kmeans_classes
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_latent, write_gaussians, write_gaussians_pdb, write_volume
from libhetero.physics.filters import lowpass_volume
from libhetero.pipelines.embed import check_at_least, check_choice
from libhetero.pipelines.latents import (
    check_indices,
    decodable_latents,
    lifted_latents,
    particle_latents,
)
from libhetero.pipelines.progress import tracked
from libhetero.pipelines.region_particles import write_classes
from libhetero.pipelines.run_folder import Run, open_run
from libhetero.records import Gaussians
from libhetero.report.maps import MOST, draw_maps

LOGGER = logging.getLogger(__name__)
FORMATS = ("mrc", "hdf")
BATCH = 4  # volumes decoded by one call


@dataclass(frozen=True)
class EvaluateConfig:
    """Which volumes, on which grid. Exactly one of the first four is given.

    Parameters
    ----------
    folder : a run folder.
    particles : indices of particles; one volume each.
    classes : file of particle index and class; one volume each class, at its mean latent.
    latent : file of latent points, as `mid_00.txt`; one volume each.
    all_classes : number of k-means classes of all particles; one volume each.
    box_size : voxels; None for the run's.
    pixel_size : Å; None for the run's.
    lowpass : resolution to filter to, Å; None to leave the volumes as they are.
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
    box_size: int | None = None
    pixel_size: float | None = None
    lowpass: float | None = None
    format: str = "mrc"
    output: str | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        choices = (self.particles, self.classes, self.latent, self.all_classes)
        if sum(choice is not None for choice in choices) != 1:
            raise ConfigurationError(
                "which volumes? Expected one of --particles, --classes, --latent, --all-classes."
            )
        check_choice("format", self.format, FORMATS)
        for name, least in (("all_classes", 1), ("box_size", 8), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None:
                check_at_least(name, value, least)
        if self.box_size is not None and self.box_size % 2:
            raise ConfigurationError(f"box_size: expected an even number, got {self.box_size}.")
        for name in ("pixel_size", "lowpass"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"{name}: expected Å above 0, got {value:g}.")


@dataclass(frozen=True)
class EvaluateResult:
    """What was written.

    Parameters
    ----------
    volumes : one path a volume.
    figure : montage of the first eight, spread over all.
    """

    volumes: tuple[Path, ...]
    figure: Path


def run(
    config: EvaluateConfig, progress: Callable[[float], None] | None = None
) -> EvaluateResult:
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
    count, named = _selection(config, trained)
    folder = trained.folder / "volumes" if config.output is None else Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    LOGGER.info("%d volume(s) of %d³ voxels at %.4g Å", count, box, pixel_size)
    shown = {int(place) for place in np.linspace(0, count - 1, min(count, MOST))}
    paths, pictures = [], []
    decoded = _volumes(trained, named, box, pixel_size, config.lowpass)
    for name, volume, representation in tracked(
        decoded, count, "volumes", lambda one: 1, progress
    ):
        paths.append(folder / f"{name}.{config.format}")
        write_volume(paths[-1], volume, pixel_size)
        if isinstance(representation, Gaussians):
            _write_gaussians(folder / name, representation, trained)
        if len(paths) - 1 in shown:
            pictures.append((name, volume))
    names, volumes = zip(*pictures, strict=True)
    figure = folder / "volumes.png"
    draw_maps(figure, volumes, names)
    return EvaluateResult(tuple(paths), figure)


def _grid(config: EvaluateConfig, trained: Run) -> tuple[int, float]:
    """Return box and pixel size; with only the pixel size given, the box covers the same length."""
    box, pixel_size = trained.model.box_size, trained.model.pixel_size
    if config.pixel_size is not None and config.box_size is None:
        box = max(8, 2 * round(0.5 * box * pixel_size / config.pixel_size))
    return config.box_size or box, config.pixel_size or pixel_size


def _selection(
    config: EvaluateConfig, trained: Run
) -> tuple[int, Iterator[tuple[str, np.ndarray]]]:
    """Return how many volumes, and a name and a decodable latent for each."""
    count = len(trained.particles)
    if config.particles is not None:
        indices = check_indices(np.array(config.particles), count, "--particles")
        return len(indices), _of_particles(trained, indices, config.batch_size)
    if config.latent is not None:
        index, points = read_latent(config.latent)
        latents = lifted_latents(trained, points, config.latent, config.batch_size)
        names = [f"latent_{number:04d}" for number in index]
        return len(names), zip(names, latents, strict=True)
    if config.classes is not None:
        index, label = _read_classes(config.classes, count)
    else:
        latent = particle_latents(trained, config.batch_size)
        index, label = np.arange(count), kmeans_classes(latent, config.all_classes, config.seed)
        path = trained.folder / f"classes_{config.all_classes:02d}.txt"
        write_classes(path, index, label)
        LOGGER.info("wrote %s", path)
    found = np.unique(label[label >= 0])
    means = _class_means(trained, index, label, found, config.batch_size)
    return len(found), zip([f"class_{one:02d}" for one in found], means, strict=True)


def _of_particles(
    trained: Run, indices: np.ndarray, batch_size: int
) -> Iterator[tuple[str, np.ndarray]]:
    batch_size = min(batch_size, len(indices))
    place = 0
    for block in decodable_latents(trained, indices, batch_size):
        for latent in block:
            yield f"particle_{indices[place]:06d}", latent
            place += 1


def _read_classes(path: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = np.loadtxt(path, ndmin=2)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected particle index and class.") from None
    except ValueError as error:
        raise DataError(f"{path}: not a table of numbers ({error}).") from None
    if table.shape[1] != 2:
        raise DataError(f"{path}: {table.shape[1]} columns; expected particle index and class.")
    label = table[:, 1].astype(np.int64)
    if not (label >= 0).any():
        raise DataError(f"{path}: no particle is in a class; expected classes from 0.")
    return check_indices(table[:, 0], count, path), label


def _class_means(
    trained: Run, index: np.ndarray, label: np.ndarray, found: np.ndarray, batch_size: int
) -> np.ndarray:
    """Return the mean latent of each class, (classes, latent), streaming over the particles."""
    index, label = index[label >= 0], label[label >= 0]
    total, place = None, 0
    for block in decodable_latents(trained, index, batch_size):
        if total is None:
            total = np.zeros((len(found), block.shape[1]))
        member = label[place : place + len(block), None] == found
        total += member.T.astype(np.float64) @ block
        place += len(block)
    return (total / (label[:, None] == found).sum(axis=0)[:, None]).astype(np.float32)


def _volumes(
    trained: Run,
    named: Iterator[tuple[str, np.ndarray]],
    box: int,
    pixel_size: float,
    lowpass: float | None,
) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Decode in batches of one shape; yield name, map and representation of each."""
    model, params = trained.model, jax.device_put(trained.params)

    def one(representation: Any) -> jax.Array:
        volume = model.volume(representation, box, pixel_size)
        return volume if lowpass is None else lowpass_volume(volume, pixel_size, lowpass)

    @jax.jit
    def decode(params: Any, latent: jax.Array) -> tuple[Any, jax.Array]:
        representations = model.decode(params, latent)
        return representations, jax.lax.map(one, representations)

    for group in _grouped(named):
        names, latents = zip(*group, strict=True)
        padded = np.stack(latents + latents[-1:] * (BATCH - len(latents)))
        representations, volumes = decode(params, padded)
        volumes = np.asarray(volumes)
        keep = jax.tree.map(np.asarray, representations) if trained.config.family == "gmm" else None
        for place, name in enumerate(names):
            yield name, volumes[place], None if keep is None else keep.take(place)


def _grouped(named: Iterator[tuple[str, np.ndarray]]) -> Iterator[list[tuple[str, np.ndarray]]]:
    group = []
    for item in named:
        group.append(item)
        if len(group) == BATCH:
            yield group
            group = []
    if group:
        yield group


def _write_gaussians(stem: Path, mixture: Gaussians, trained: Run) -> None:
    """Write a mixture as EMAN2 text, for the run's own box, and as pseudo-atoms on the map."""
    box, pixel_size = trained.model.box_size, trained.model.pixel_size
    write_gaussians(stem.with_suffix(".txt"), mixture, box, pixel_size)
    centre = (box // 2) * pixel_size
    write_gaussians_pdb(stem.with_suffix(".pdb"), mixture, origin=(centre,) * 3)
