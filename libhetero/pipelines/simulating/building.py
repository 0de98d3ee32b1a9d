"""The simulation that a configuration describes: structures, states and imaging, without rendering it."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_particles
from libhetero.pipelines.simulate import FILLED, SimulateConfig
from libhetero.records import CTFParams
from libhetero.simulate import sources
from libhetero.simulate.complex import generate_complex
from libhetero.simulate.configuration import CTFSampling, ImagingConfig, NuisanceConfig, StateConfig
from libhetero.simulate.sets import assembly_of, mixture_of, motion_of
from libhetero.simulate.simulation import Simulation
from libhetero.simulate.states import MovingStructures
from libhetero.simulate.structures import BeadStructure, GeneratedMixture, Structure, hinges_of_structure
from libhetero.simulate.swing import angle_for_rmsd

LOGGER = logging.getLogger(__name__)


def build(config: SimulateConfig) -> Simulation:
    """Return the simulation that a configuration describes, without rendering it."""
    ctf = CTFSampling(defocus=config.defocus) if config.ctf else None
    own = {"ctf": ctf, "nuisances": NuisanceConfig(**_named_as(NuisanceConfig, config)), "tilts": config.series}
    imaging = ImagingConfig(**{**_named_as(ImagingConfig, config), **own})
    table = None if config.ctf_from is None else ctf_table(config.ctf_from)
    if config.kind == "mixture":
        load, count = _mixture(config)
        return mixture_of(load, imaging, table, count, _moving(config, load, count))
    structure = _in_pieces(config)
    if config.kind == "assembly":
        return assembly_of(structure, imaging, _states(config, structure), table)
    return motion_of(structure, imaging, _max_angle(config, structure), table)


def _named_as(kind: type, config: SimulateConfig) -> dict[str, Any]:
    """Return the values of a configuration that another one has fields of the same names for."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name in names}


def ctf_table(path: str) -> CTFParams:
    """Return the CTFs of a particle list, whose images need not be there; float32 (rows,).

    Raises
    ------
    DataError : if the list has no CTF.
    """
    ctf = read_particles(path, need_images=False).ctf
    if ctf is None:
        raise DataError(f"{path}: no CTF in this list; give another one, or leave out --ctf_from.")
    columns = {name: np.asarray(column, np.float32) for name, column in ctf.columns().items() if name != "exposure"}
    return CTFParams(**columns)  # the exposure is that of the images, not of the optics


def details(config: SimulateConfig) -> dict[str, Any]:
    """Return where the structures came from, for truth.json."""
    given = {"models": list(config.models), "maps": list(config.maps)}
    source: dict[str, Any] = {key: names for key, names in given.items() if names}
    if not source:
        seed, diameter = _generated(config)
        source = {"generated": True, "complex_seed": seed, "diameter": diameter}
    return {"source": source, "b_factor": config.b_factor if config.models else None}


def _in_pieces(config: SimulateConfig) -> Structure:
    """Return the structure of an assembly or motion set."""
    if config.maps:
        return sources.maps_as_pieces(list(config.maps), config.pixel_size)
    if not config.models:
        seed, diameter = _generated(config)
        return BeadStructure(generate_complex(seed, config.pieces, diameter))
    path, b_factor = config.models[0], config.b_factor
    if config.segments:
        return sources.segmented_model(path, config.segments, b_factor)
    if config.domains:
        return sources.model_in_domains(path, config.domains, b_factor)
    return sources.model_in_compact_pieces(path, config.pieces, config.seed, b_factor)


def _states(config: SimulateConfig, structure: Structure) -> StateConfig:
    """Return how the pieces of an assembly come and go, and which turn instead, how far.

    Raises
    ------
    ConfigurationError : if one that is to turn is none of the structure's.
    """
    pieces = len(structure.names) - 1
    if not config.moving:
        return StateConfig(probability=config.probability)
    if max(config.moving) > pieces:
        raise ConfigurationError(
            f"--moving: there is no piece {max(config.moving)}; expected numbers from 1 to {pieces}, 0 being the core."
        )
    return StateConfig(config.probability, _max_angle(config, structure), config.moving)


def _moving(config: SimulateConfig, load: Callable[[int], Structure], count: int) -> MovingStructures | None:
    """Return which structures of a mixture move, and how far.

    Raises
    ------
    ConfigurationError : if one that is to move is none of the mixture's.
    """
    if not config.moving:
        return None
    if max(config.moving) > count:
        raise ConfigurationError(
            f"--moving: there is no structure {max(config.moving)}; expected numbers from 1 to {count}."
        )
    angles = {k: _max_angle(config, load(k)) for k in _cut(config)}
    return MovingStructures(tuple(angles.get(k, 0.0) for k in range(count)), 1 + config.pieces)


def _cut(config: SimulateConfig) -> tuple[int, ...]:
    """Return the numbers, from 0, of the structures of a mixture that are cut in pieces, since they move."""
    return tuple(sorted({k - 1 for k in config.moving}))


def _max_angle(config: SimulateConfig, structure: Structure) -> float:
    """Return the largest angle of pieces that turn, radians: given, or found for a wanted RMSD."""
    if config.rmsd is None:
        return config.max_angle
    hinges = hinges_of_structure(structure)
    if config.kind == "assembly":
        hinges = {k: hinges[k] for k in config.moving}
    angle = angle_for_rmsd(structure.points(), hinges, config.rmsd)
    LOGGER.info(
        "%s: angles within ± %.2f degrees, mean RMSD %.3g Å", structure.names[0], math.degrees(angle), config.rmsd
    )
    return angle


def _mixture(config: SimulateConfig) -> tuple[Callable[[int], Structure], int]:
    """Return a function that gives the structures of a mixture, and how many there are."""
    if config.maps:
        return sources.WholeMaps(config.maps, config.pixel_size), len(config.maps)
    if config.models:
        models = sources.Models(config.models, config.b_factor, _cut(config), config.pieces, config.seed)
        return models, len(config.models)
    return GeneratedMixture(*_generated(config), _cut(config), config.pieces), config.structures


def _generated(config: SimulateConfig) -> tuple[int, float]:
    """Return seed and diameter (Å) of generated complexes."""
    seed = config.seed if config.complex_seed is None else config.complex_seed
    width = config.box_size * config.pixel_size
    return seed, FILLED * width if config.diameter is None else config.diameter
