"""How each particle of a run was imaged, and whether its coordinates follow that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.confounders import (
    CERTAIN,
    MATERIAL,
    Followed,
    Property,
    angle_features,
    follow,
    number_features,
    view_features,
)
from libhetero.io.cs_table import read_table as read_cs_table
from libhetero.io.euler import euler_from_matrix
from libhetero.io.micrographs import cs_micrographs
from libhetero.io.origin import original_table
from libhetero.io.star import read_table
from libhetero.io.tables import read_numbers
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.validating.record import Following
from libhetero.records import CTFParams, ParticleSet

LOGGER = logging.getLogger(__name__)
PARTICLES = "particles_00.txt"
COLUMNS = "particle, contrast, its deviation, evidence and probability of being junk"
JUNK = 0.5


@dataclass(frozen=True, eq=False)
class ParticleTable:
    """particles_00.txt: what a run says of each particle besides its latent.

    Parameters
    ----------
    contrast : of each particle.
    junk : probability that it is none of the molecule.
    """

    contrast: Float[np.ndarray, " particles"]
    junk: Float[np.ndarray, " particles"]

    def strength(self) -> Float[np.ndarray, " particles"]:
        """Return the contrast, 0 for what is junk."""
        return np.where(self.junk > JUNK, 0.0, self.contrast)


def particle_table(run: Run) -> ParticleTable | None:
    """Read particles_00.txt; None where the run has none, or one of other particles.

    Raises
    ------
    DataError : if it is no such table.
    """
    path, count = run.folder / PARTICLES, len(run.particles)
    if not path.exists():
        return None
    table = read_numbers(path, COLUMNS, least=5, whole=(0,), rows=count)
    if not np.array_equal(table[:, 0], np.arange(count)):
        LOGGER.warning("%s: not of the %d particles of the run; it is left out", path, count)
        return None
    return ParticleTable(table[:, 1], table[:, 4])


def properties_of(
    particles: ParticleSet, table: ParticleTable | None = None, half: Int[np.ndarray, " particles"] | None = None
) -> dict[str, Property]:
    """Return what is known of how particles were imaged, as `follow` takes it.

    Parameters
    ----------
    particles : all of a run.
    table : of the same particles.
    half : half-set of each, 0 or 1.
    """
    found: dict[str, Property] = {"place in the list": number_features(np.arange(len(particles)))}
    if particles.pose is not None:
        rotation = np.asarray(particles.pose.rotation, np.float64)
        found["direction of view"] = view_features(rotation)
        found["in-plane angle"] = angle_features(np.radians(euler_from_matrix(rotation)[2]))
        found["length of the shift"] = number_features(np.linalg.norm(particles.pose.shift, axis=1).astype(np.float64))
    if particles.ctf is not None:
        found |= _of_ctf(particles.ctf)
    names = micrographs_of(particles)
    if names is not None:
        found["micrograph"] = np.unique(names, return_inverse=True)[1].ravel().astype(np.int64)
    if half is not None:
        found["half-set"] = half[:, None].astype(np.float64)
    if table is not None:
        found["contrast"] = number_features(table.contrast)
    return found


def _of_ctf(ctf: CTFParams) -> dict[str, Property]:
    u, v = (np.asarray(value, np.float64) for value in (ctf.defocus_u, ctf.defocus_v))
    found: dict[str, Property] = {"defocus": number_features((u + v) / 2)}
    if np.abs(u - v).max(initial=0) > 1:
        size, angle = np.abs(u - v), angle_features(np.asarray(ctf.defocus_angle, np.float64), 2)
        found["astigmatism"] = np.column_stack([number_features(size), size[:, None] * angle[:, :2]])
    return found


def micrographs_of(particles: ParticleSet) -> np.ndarray | None:
    """Return the micrograph of each particle by its name, from the table behind the list; None where none says."""
    star = original_table(particles, "star", read_table)
    if star is not None:
        return star[0].column("rlnMicrographName", star[1])
    return cs_micrographs(original_table(particles, "cs", read_cs_table))


def followed(
    properties: Mapping[str, Property],
    names: tuple[str, ...],
    coordinates: Float[np.ndarray, "particles coordinates"],
    chosen: Int[np.ndarray, " chosen"],
    seed: int,
) -> Followed:
    """Return how far coordinates follow how particles were imaged, and warn where they do.

    Parameters
    ----------
    properties : of all particles.
    names : of the coordinates.
    coordinates : of the particles looked at.
    chosen : the places of these.
    seed : of folds and permutations.
    """
    here = {name: values[chosen] for name, values in properties.items()}
    found = follow(here, coordinates, seed=seed)
    for column, name in enumerate(names):
        worst = found.worst(column)
        if worst is not None:
            LOGGER.warning(
                "%s follows the %s (R² %.2f); what changes in the molecule does not. Compare the particles at both "
                "ends of it.",
                name,
                *worst,
            )
    if not any(found.worst(column) for column in range(len(names))):
        LOGGER.info(
            "nothing follows how particles were imaged: %d coordinates, %s (R² ≤ %g or p ≥ %g)",
            len(names),
            ", ".join(found.names) or "no properties",
            MATERIAL,
            CERTAIN,
        )
    return found


def following(found: Followed, names: tuple[str, ...]) -> tuple[Following, ...]:
    """Return the same as it is written, coordinate by coordinate."""
    return tuple(
        Following(name, one, float(found.share[row, column]), float(found.p_value[row, column]))
        for column, name in enumerate(names)
        for row, one in enumerate(found.names)
    )


def looked_at(count: int, most: int) -> Int[np.ndarray, " chosen"]:
    """Return places spread over a set, at most so many."""
    return spread_indices(count, most)
