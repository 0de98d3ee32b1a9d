"""One run of a comparison: its particles, and the classes, latents, regions and volumes that it has."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_volume
from libhetero.pipelines.decoding.class_files import whole_classes
from libhetero.pipelines.decoding.evaluation_folder import RECORD, earlier
from libhetero.pipelines.decoding.gaussians import has_mixtures, neutral_gaussians
from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
from libhetero.pipelines.embedding.particles import PARTICLE_CLASSES
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.pipelines.scoring.regions import read_regions

SAME_PIXEL = 1e-3  # relative, as headers round it
OF_REGIONS = "classes_region_"


@dataclass(frozen=True, eq=False)
class Regioned:
    """Gaussians that were segmented.

    Parameters
    ----------
    position : of each, Å.
    region : of each; 0 the core, -1 none.
    """

    position: Float[np.ndarray, "gaussians 3"]
    region: Int[np.ndarray, "gaussians"]


@dataclass(frozen=True, eq=False)
class Subject:
    """One of the runs.

    Parameters
    ----------
    name : of its folder, as it was typed.
    run : opened.
    label : class of each particle, -1 for none; None without classes.
    gaussians : with the region of each; None without regions.
    volumes : files of the volumes to match; none where there are none.
    grid : box and pixel size (Å) of these.
    missing : of "classes", "latents", "regions" and "volumes", what the run does not have: why, and what makes it.
    latent : of each particle; None before it is read.
    """

    name: str
    run: Run
    label: Int[np.ndarray, "particles"] | None
    gaussians: Regioned | None
    volumes: tuple[Path, ...]
    grid: tuple[int, float] | None
    missing: dict[str, str]
    latent: Float[np.ndarray, "particles columns"] | None = None

    def with_latents(self, batch_size: int) -> Subject:
        """Return the same with its latents: read, or encoded where they are older than the parameters."""
        return dataclasses.replace(self, latent=particle_latents(self.run, batch_size))


def open_subjects(config: Any) -> list[Subject]:
    """Open all runs and find what there is to compare, before anything long is done.

    Parameters
    ----------
    config : a `libhetero.pipelines.compare.CompareConfig`.

    Raises
    ------
    UserError : one line on a folder that is no run, what it lacks of what was named, or volumes on different grids.
    """
    subjects = [_subject(name, config) for name in config.runs]
    with_volumes = [one for one in subjects if one.grid is not None]
    for one in with_volumes[1:]:
        _check_grids(with_volumes[0], one)
    return subjects


def pixel_size_of(subjects: Sequence[Subject]) -> float:
    """Return the pixel size of the runs' volumes, which all have, Å; that of the first run's model without any."""
    return next((one.grid[1] for one in subjects if one.grid is not None), subjects[0].run.model.pixel_size)


def _subject(name: str, config: Any) -> Subject:
    run = open_run(name).reading(config.embedding, config.segmentation)
    quoted, missing = shlex.quote(name), dict[str, str]()
    label = gaussians = None
    table = run.classes_folder / PARTICLE_CLASSES
    if table.is_file():
        label = whole_classes(table, run.particles)
    else:
        missing["classes"] = f"{name} has no classes; e2hype_embed.py {quoted} --classes auto makes them."
    if shows_nothing(run):
        missing["latents"] = f"in {name} nothing was found to change: its latents have no numbers."
    if not has_mixtures(run):
        missing["regions"] = f"{name} has no Gaussians, and so no regions."
    else:
        mixture = neutral_gaussians(run)
        region = read_regions(run.regions_folder, len(mixture.sigma))
        if region is not None:
            gaussians = Regioned(np.asarray(mixture.position, np.float64), region)
        else:
            missing["regions"] = f"{name} has no regions; e2hype_segment.py {quoted} makes them."
    volumes: tuple[Path, ...] = ()
    if config.no_volumes:
        missing["volumes"] = "--novolumes was asked for."
    else:
        volumes = _volumes(run, config.volumes)
        if not volumes:
            evaluation = f"e2hype_eval.py {quoted} --classes {shlex.quote(str(table))}"
            command = evaluation if table.is_file() else f"e2hype_analyze.py {quoted}"
            missing["volumes"] = f"{name} has no volumes of classes; {command} makes them."
    grid = _grid(volumes[0]) if volumes else None
    return Subject(name, run, label, gaussians, volumes, grid, missing)


def _volumes(run: Run, name: str | None) -> tuple[Path, ...]:
    """Return the maps of an evaluation by its name, or of the newest one of classes of whole particles.

    Raises
    ------
    ConfigurationError : if there is none of that name, or its maps are gone.
    """
    place = run.folder / "volumes"
    if name is not None:
        folder = place / name
        if not (folder / RECORD).is_file():
            names = ", ".join(sorted(one.parent.name for one in place.glob(f"*/{RECORD}"))) or "none yet"
            raise ConfigurationError(
                f"--volumes {name}: {run.folder} has no evaluation of this name; expected one of those in {place} "
                f"({names}). e2hype_eval.py {run.folder} --name {name} makes it."
            )
        return _maps(folder)
    found = [record.parent for record in place.glob(f"*/{RECORD}") if _of_classes(record.parent)]
    return _maps(max(found, key=lambda one: (one / RECORD).stat().st_mtime)) if found else ()


def _of_classes(folder: Path) -> bool:
    options = earlier(folder).options
    of_file = str(options.get("classes", ""))
    return "all_classes" in options or bool(of_file and not Path(of_file).name.startswith(OF_REGIONS))


def _maps(folder: Path) -> tuple[Path, ...]:
    paths = tuple(folder / Path(name).name for name in earlier(folder).volumes)
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(f"{path}: no such map, though {RECORD} beside names it. Make the volumes again.")
    return paths


def _grid(path: Path) -> tuple[int, float]:
    volume, pixel_size = read_volume(path)
    return volume.shape[0], pixel_size


def _check_grids(first: Subject, other: Subject) -> None:
    """Refuse volumes of different boxes or pixel sizes."""
    (box, pixel_size), (other_box, other_pixel) = first.grid or (0, 0.0), other.grid or (0, 0.0)
    if box != other_box or abs(other_pixel / pixel_size - 1) > SAME_PIXEL:
        raise DataError(
            f"{other.volumes[0].parent}: volumes of {other_box} voxels of {other_pixel:.4g} Å, those of "
            f"{first.volumes[0].parent} are {box} of {pixel_size:.4g} Å; expected one grid. Write them again with "
            f"e2hype_eval.py {shlex.quote(other.name)} … --box {box} --apix {pixel_size:.4g}, or add --novolumes."
        )
