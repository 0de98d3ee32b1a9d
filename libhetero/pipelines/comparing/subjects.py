"""One run of a comparison: its particles, and the classes, latents, regions and volumes that it has."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_volume
from libhetero.pipelines.decoding.class_files import classes_of_all
from libhetero.pipelines.decoding.evaluation_folder import DIGEST, RECORD, earlier, file_digest
from libhetero.pipelines.decoding.gaussians import has_mixtures, neutral_gaussians
from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
from libhetero.pipelines.embedding.particles import PARTICLE_CLASSES
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.pipelines.scoring.regions import read_regions

LOGGER = logging.getLogger(__name__)
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
        check_grids((with_volumes[0].volumes[0], one.volumes[0]), (with_volumes[0].grid, one.grid), one.name)
    return subjects


def pixel_size_of(subjects: Sequence[Subject]) -> float:
    """Return the pixel size of the runs' volumes, which all have, Å; that of the first run's model without any."""
    return next((one.grid[1] for one in subjects if one.grid is not None), subjects[0].run.model.pixel_size)


def _subject(name: str, config: Any) -> Subject:
    run = open_run(name)
    run = run.reading(config.embedding, config.segmentation if has_mixtures(run) else None)
    missing = dict[str, str]()
    label = _classes(name, run, missing)
    gaussians = _regions(name, run, missing)
    volumes = _volumes(name, run, label, config, missing)
    if shows_nothing(run):
        missing["latents"] = f"in {name} nothing was found to change: its latents have no numbers."
    if volumes:
        LOGGER.info("%s: volumes of %s are matched", name, volumes[0].parent)
    grid = grid_of(volumes[0]) if volumes else None
    return Subject(name, run, label, gaussians, volumes, grid, missing)


def _classes(name: str, run: Run, missing: dict[str, str]) -> Int[np.ndarray, "particles"] | None:
    """Return the class of each particle; None, and why in `missing`, where there are no classes."""
    table, command = run.classes_folder / PARTICLE_CLASSES, f"e2hype_embed.py {shlex.quote(name)} --classes auto"
    if not table.is_file():
        missing["classes"] = f"{name} has no classes; {command} makes them."
        return None
    label = classes_of_all(table, run.particles)
    if not (label >= 0).any():
        missing["classes"] = f"{name} has no particle in a class ({table}); {command} makes them."
        return None
    return label


def _regions(name: str, run: Run, missing: dict[str, str]) -> Regioned | None:
    """Return the Gaussians with their regions; None, and why in `missing`, where there are none."""
    if not has_mixtures(run):
        missing["regions"] = f"{name} has no Gaussians, and so no regions."
        return None
    mixture = neutral_gaussians(run)
    region = read_regions(run.regions_folder, len(mixture.sigma))
    if region is None:
        missing["regions"] = f"{name} has no regions; e2hype_segment.py {shlex.quote(name)} makes them."
        return None
    return Regioned(np.asarray(mixture.position, np.float64), region)


def _volumes(name: str, run: Run, label: Any, config: Any, missing: dict[str, str]) -> tuple[Path, ...]:
    """Return the maps of an evaluation; none, and why in `missing`, where there is none of the run's parameters.

    That is the evaluation of a name (`--volumes`), or one of classes of whole particles: of those that are compared
    where there is one, and the newest of these.

    Raises
    ------
    ConfigurationError : if there is none of that name, or its maps are gone.
    """
    if config.no_volumes:
        missing["volumes"] = "--novolumes was asked for."
        return ()
    quoted, place, table = shlex.quote(name), run.folder / "volumes", run.classes_folder / PARTICLE_CLASSES
    command = f"e2hype_analyze.py {quoted}"
    if label is not None:
        command = f"e2hype_eval.py {quoted} --classes {shlex.quote(str(table))}"
        command += "" if config.volumes is None else f" --name {shlex.quote(config.volumes)}"
    found = evaluations_of_classes(place) if config.volumes is None else [_named(run, config.volumes)]
    current = [folder for folder in found if run.written is None or _written(folder) >= run.written]
    if current:
        return maps_of(best_evaluation(current, None if label is None else table))
    if found:
        older = max(found, key=_written)
        missing["volumes"] = f"those of {name} in {older} are older than its parameters; {command} makes them anew."
    else:
        missing["volumes"] = f"{name} has no volumes of classes; {command} makes them."
    return ()


def _named(run: Run, name: str) -> Path:
    place = run.folder / "volumes"
    if not (place / name / RECORD).is_file():
        names = ", ".join(sorted(one.parent.name for one in place.glob(f"*/{RECORD}"))) or "none yet"
        raise ConfigurationError(
            f"--volumes {name}: {run.folder} has no evaluation of this name; expected one of those in {place} "
            f"({names}). e2hype_eval.py {run.folder} --name {name} makes it."
        )
    return place / name


def _written(folder: Path) -> float:
    return (folder / RECORD).stat().st_mtime


def evaluations_of_classes(place: Path) -> list[Path]:
    """Return the folders of evaluations in RUN/volumes that are of classes of whole particles."""

    def is_one(folder: Path) -> bool:
        options = earlier(folder).options
        of_file = str(options.get("classes", ""))
        return "all_classes" in options or bool(of_file and not Path(of_file).name.startswith(OF_REGIONS))

    return [record.parent for record in sorted(place.glob(f"*/{RECORD}")) if is_one(record.parent)]


def best_evaluation(folders: Sequence[Path], table: Path | None) -> Path:
    """Return the folder whose volumes are matched: that of the classes compared where there is one, else the newest.

    Parameters
    ----------
    folders : of evaluations, at least one.
    table : of the classes that are compared; None where there are none.
    """
    digest = None if table is None else file_digest(table)
    return max(folders, key=lambda one: (earlier(one).options.get(f"classes{DIGEST}", "") == digest, _written(one)))


def maps_of(folder: Path) -> tuple[Path, ...]:
    """Return the maps of an evaluation.

    Raises
    ------
    ConfigurationError : if one of them is gone.
    """
    paths = tuple(folder / Path(name).name for name in earlier(folder).volumes)
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(f"{path}: no such map, though {RECORD} beside names it. Make the volumes again.")
    return paths


def grid_of(path: Path) -> tuple[int, float]:
    """Return box and pixel size (Å) of a map."""
    volume, pixel_size = read_volume(path)
    return volume.shape[0], pixel_size


def check_grids(maps: tuple[Path, Path], grids: tuple[Any, Any], name: str) -> None:
    """Refuse volumes of different boxes or pixel sizes.

    Parameters
    ----------
    maps : one of either run.
    grids : as `grid_of` gives them.
    name : of the second run.

    Raises
    ------
    DataError : with the command that writes those of the second run again.
    """
    (box, pixel_size), (other_box, other_pixel) = grids
    if box != other_box or abs(other_pixel / pixel_size - 1) > SAME_PIXEL:
        raise DataError(
            f"{maps[1].parent}: volumes of {other_box} voxels of {other_pixel:.4g} Å, those of "
            f"{maps[0].parent} are {box} of {pixel_size:.4g} Å; expected one grid. Write them again with "
            f"e2hype_eval.py {shlex.quote(name)} … --box {box} --apix {pixel_size:.4g}, or add --novolumes."
        )
