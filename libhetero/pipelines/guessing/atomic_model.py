"""Where an atomic model lies in the particles' box.

A file of atoms says where they lie, but not from where that is measured. The particles' poses mean the box
centre (voxel n // 2), and so does `--origin centre`: coordinates are taken as they stand. ChimeraX and others show a
map with its first voxel at (0, 0, 0); a model fitted there is measured from the box's corner (`--origin corner`).
With `--origin mass` the centre of mass is brought to the box centre, for a model that was never placed. Nothing
is moved that was not asked for.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from libhetero.errors import ConfigurationError
from libhetero.io.atoms import Atoms
from libhetero.pipelines.guess import GuessConfig
from libhetero.simulate.atoms import scattering_weights
from libhetero.simulate.sources import load_model

LOGGER = logging.getLogger(__name__)
MODEL_B_FACTOR = 50.0  # Å²


def placed_model(config: GuessConfig, n: int, pixel_size: float) -> Atoms:
    """Return the atoms of `config.source`, in Å from the box centre, and say where their centre of mass lies.

    Parameters
    ----------
    n, pixel_size : of the particles' box, pixels and Å.

    Raises
    ------
    UserError : if there are no atoms, or they do not fit the box where they lie.
    """
    atoms = load_model(config.source, MODEL_B_FACTOR)
    given, half, corner = atoms.position, n * pixel_size / 2, n // 2 * pixel_size
    mass = np.average(given, axis=0, weights=scattering_weights(atoms))
    origin = {"centre": np.zeros(3), "corner": np.full(3, corner), "mass": mass}[config.origin or "centre"]
    position = (given - origin).astype(np.float32)
    reach = float(np.linalg.norm(position, axis=1).max())
    if reach > half:
        raise ConfigurationError(
            f"{config.source}: atoms lie up to {reach:.0f} Å from the box centre; expected at most {half:.0f} Å, half "
            f"the box. {_advice(config, given, mass, half, corner)}"
        )
    LOGGER.info("%s: centre of mass at (%s) Å from the box centre", config.source, _numbers(mass - origin))
    if config.origin is None and _as_from_corner(given, mass, half, corner):
        LOGGER.warning(
            "%s: all coordinates are positive, as if measured from the corner of the box; they are taken from its "
            "centre. If that is not meant, give --origin corner",
            config.source,
        )
    return replace(atoms, position=position)


def _advice(config: GuessConfig, given: np.ndarray, mass: np.ndarray, half: float, corner: float) -> str:
    """Return what to do about atoms that do not fit the box."""
    around_mass = float(np.linalg.norm(given - mass, axis=1).max())
    if around_mass > half:
        return f"It is {2 * around_mass:.0f} Å across its centre of mass: use a larger --box or --apix."
    if config.origin != "corner" and np.linalg.norm(given - corner, axis=1).max() <= half:
        return "They lie as in a map whose first voxel is at 0: give --origin corner."
    return (
        f"Their centre of mass is at ({_numbers(mass)}) Å: fit the model into the particles' map (--origin corner), or "
        "give --origin mass to bring it to the box centre."
    )


def _as_from_corner(given: np.ndarray, mass: np.ndarray, half: float, corner: float) -> bool:
    """Return whether no coordinate is negative and the model lies nearer to the middle of a box from 0 on."""
    nearer = np.linalg.norm(mass - corner) < np.linalg.norm(mass)
    return bool(given.min() >= 0 and given.max() <= 2 * half and nearer)


def _numbers(point: Float[np.ndarray, "3"]) -> str:
    return ", ".join(f"{value:.1f}" for value in point)
