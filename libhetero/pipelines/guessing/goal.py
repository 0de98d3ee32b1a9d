"""What Gaussians are fitted to: a map, or the density of an atomic model, and how far it can be trusted."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_volume
from libhetero.io.volume import particles_in_map
from libhetero.models.gmm.start.fit import MapToFit
from libhetero.models.gmm.start.independent_changes import ParticleInformation, by_half_maps, by_usual_images
from libhetero.models.gmm.start.map_support import molecule_mask, reliability, signal_power, symmetry_agreement
from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.guess import GuessConfig
from libhetero.pipelines.guessing.atomic_model import placed_model
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import load_particles
from libhetero.simulate.atoms import density_of_atoms

LOGGER = logging.getLogger(__name__)
MODEL_SUFFIXES = (".pdb", ".cif", ".ent", ".mmcif")
LEAST_SYMMETRY = 0.8  # correlation of a symmetric map with itself, turned
LARGEST = 1e15  # of a voxel whose square, summed over a map, float32 holds


def map_to_fit(config: GuessConfig) -> MapToFit:
    """Read the map, find its molecule and where it ends.

    Raises
    ------
    UserError : one line on what is wrong with the map or the options.
    """
    operators = symmetry_operators(config.symmetry)
    volume, pixel_size = _volume(config)
    n = volume.shape[0]
    try:
        inside = molecule_mask(volume, pixel_size, config.threshold)
    except DataError as error:
        raise DataError(f"{config.source}: {error}") from None
    halves, told = _half_maps(config, volume.shape)
    trust = reliability(volume, inside, halves)
    if config.max_resolution is not None:
        frequency = np.arange(n // 2) / (n * pixel_size)
        beyond = frequency > 1 / config.max_resolution
        if beyond[2:].all():
            raise ConfigurationError(
                f"--maxres {config.max_resolution:g}: leaves none of the map's {n * pixel_size:.0f} Å "
                f"box; expected less than {n * pixel_size / 2:.0f} Å."
            )
        trust[beyond] = 0
        told = told if trust[~beyond][-1] == 0 else "--maxres"
    if not trust[2:].any():
        raise DataError(
            f"{config.source}: nothing of the map can be trusted ({told}); expected half-maps that agree, "
            "or a molecule that stands out of the background. Give others with --halfmaps, or --threshold."
        )
    end = n * pixel_size / max(np.count_nonzero(trust) - 1, 1)
    LOGGER.info(
        "%s: box %d, %.4g Å per voxel; the molecule fills %.1f%% of it, detail to %.3g Å (%s)",
        config.source,
        n,
        pixel_size,
        100 * inside.mean(),
        end,
        told,
    )
    if len(operators) > 1:
        agreement = symmetry_agreement(volume, pixel_size, operators)
        if agreement < LEAST_SYMMETRY:
            LOGGER.warning(
                "%s: turned by an operator of %s it correlates with itself by only %.2f; check the "
                "symmetry, and that its axes and centre are the box's",
                config.source,
                config.symmetry,
                agreement,
            )
    goal = MapToFit(volume, pixel_size, inside, trust, operators)
    return goal if config.count is not None else replace(goal, information=_information(config, goal, halves))


def _information(
    config: GuessConfig, goal: MapToFit, halves: tuple[np.ndarray, np.ndarray] | None
) -> ParticleInformation | None:
    """Return what is known of the particles: their number by a list or the map's header, the rest by half-maps."""
    if config.particles is not None:
        count: int | None = len(load_particles(DataConfig(config.particles)))
    else:
        count = None if _is_model(config.source) else particles_in_map(config.source)
    if halves is not None:
        return by_half_maps(goal.trust, halves, goal.inside, goal.extent(), count)
    return by_usual_images(signal_power(goal.volume, goal.trust), goal.extent(), count)


def _half_maps(config: GuessConfig, shape: tuple[int, ...]) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Return half-maps, given or found beside the map, and what says where the map ends."""
    paths = config.half_maps
    if paths is None:
        source = Path(config.source)
        first, second = (source.with_name(f"{source.stem}_half{number}{source.suffix}") for number in (1, 2))
        if _is_model(config.source) or not (first.is_file() and second.is_file()):
            return None, "from its background"
        paths = str(first), str(second)
    volumes = read_volume(paths[0], config.pixel_size)[0], read_volume(paths[1], config.pixel_size)[0]
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != shape:
            raise DataError(
                f"{path}: box {'×'.join(map(str, volume.shape[::-1]))}; expected the map's, {shape[0]}. "
                "Give the half-maps of this map."
            )
        _check_finite(path, volume)
    return volumes, f"from {Path(paths[0]).name} and {Path(paths[1]).name}"


def _is_model(source: str) -> bool:
    return source.lower().removesuffix(".gz").endswith(MODEL_SUFFIXES)


def _check_finite(path: str, volume: np.ndarray) -> None:
    if not (np.abs(volume) < LARGEST).all():  # NaN is none, either
        raise DataError(f"{path}: the map holds NaN, infinite or absurdly large voxels; expected numbers.")


def _volume(config: GuessConfig) -> tuple[np.ndarray, float]:
    if _is_model(config.source):
        if config.box_size is None or config.pixel_size is None:
            raise ConfigurationError(
                f"{config.source}: an atomic model has no box; expected --box and --apix, those of the particles."
            )
        atoms = placed_model(config, config.box_size, config.pixel_size)
        return density_of_atoms(atoms, config.box_size, config.pixel_size), config.pixel_size
    if config.origin is not None:
        raise ConfigurationError(
            f"--origin {config.origin}: a map lies as its voxels do; leave it out (it is for atomic models)."
        )
    if config.box_size is not None:
        raise ConfigurationError(
            f"--box {config.box_size}: a map has its own box; leave it out (it is for atomic models)."
        )
    volume, pixel_size = read_volume(config.source, config.pixel_size)
    if len(set(volume.shape)) > 1 or volume.shape[0] % 2:
        raise DataError(
            f"{config.source}: the map is {volume.shape[2]}×{volume.shape[1]}×{volume.shape[0]}; "
            "expected a cube with an even side. Clip or pad it."
        )
    _check_finite(config.source, volume)
    return volume, pixel_size
