"""How each particle of a run was imaged, and whether its coordinates follow that."""

from __future__ import annotations

import logging
from collections.abc import Mapping

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
from libhetero.io.particle_findings import ParticleFindings
from libhetero.io.star import read_table
from libhetero.models.contrast import contrast_posterior, fit_contrast
from libhetero.pipelines.validating.record import Following
from libhetero.records import CTFParams, ParticleSet, PoseChange

LOGGER = logging.getLogger(__name__)
JUNK = 0.5


def strength_of(findings: ParticleFindings) -> Float[np.ndarray, "particles"]:
    """Return how strongly each particle shows the molecule: the most probable contrast, 0 for what is junk.

    Parameters
    ----------
    findings : contrasts by the images alone, whose noise the spread of the set's own contrasts is freed of.
    """
    contrast = np.asarray(findings.contrast, np.float64)
    deviation = np.asarray(findings.contrast_deviation, np.float64)
    if (deviation > 0).any():
        known = np.where(deviation > 0, deviation, np.nan)
        prior = fit_contrast(contrast, known)
        found = np.asarray(contrast_posterior(contrast, known, prior)[0], np.float64)
        contrast = np.where(np.isfinite(found), found, prior.mean)
    return np.where(np.asarray(findings.junk) > JUNK, 0.0, contrast)


def properties_of(
    particles: ParticleSet, findings: ParticleFindings | None = None, half: Int[np.ndarray, " particles"] | None = None
) -> dict[str, Property]:
    """Return what is known of how particles were imaged, as `follow` takes it.

    Latents that trade with pose errors follow how far the poses were moved, where they were refined, or the shifts that
    the list states; as the image shows these, and as the molecule would.

    Parameters
    ----------
    particles : all of a run.
    findings : of the same particles.
    half : half-set of each, 0 or 1.
    """
    found: dict[str, Property] = {"place in the list": number_features(np.arange(len(particles)))}
    if particles.pose is not None:
        rotation = np.asarray(particles.pose.rotation, np.float64)
        found["direction of view"] = view_features(rotation)
        found["in-plane angle"] = angle_features(np.radians(euler_from_matrix(rotation)[2]))
        listed = particles.pose if particles.given is None else particles.given.pose
        found["listed shift"] = _in_both_axes(rotation, np.asarray(listed.shift, np.float64))
        change = _change_of(particles, findings)
        if change is not None:
            moved = [_in_both_axes(rotation, np.asarray(one, np.float64)) for one in (change.turn, change.shift)]
            found["change of the pose"] = np.column_stack(moved)
    if particles.ctf is not None:
        found |= _of_ctf(particles.ctf)
    names = micrographs_of(particles)
    if names is not None:
        found["micrograph"] = np.unique(names, return_inverse=True)[1].ravel().astype(np.int64)
    if half is not None:
        found["half-set"] = half[:, None].astype(np.float64)
    if findings is not None:
        found["contrast"] = number_features(findings.contrast)
    return found


def _change_of(particles: ParticleSet, findings: ParticleFindings | None) -> PoseChange | None:
    """Return how far a run has moved the listed poses; None where it has not refined them."""
    if findings is not None and findings.poses is not None:
        return findings.poses
    return None if particles.given is None else particles.given.change


def _in_both_axes(
    rotation: Float[np.ndarray, "particles 3 3"], vector: Float[np.ndarray, "particles axes"]
) -> Float[np.ndarray, "particles features"]:
    """Return vectors in the axes of the image, two or three, beside what they are in those of the molecule."""
    whole = np.pad(vector, [(0, 0), (0, 3 - vector.shape[1])])
    return np.column_stack([vector, np.einsum("nji,nj->ni", rotation, whole)])


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
    coordinates: Float[np.ndarray, "chosen coordinates"],
    chosen: Int[np.ndarray, " chosen"],
    seed: int,
) -> Followed:
    """Return how far coordinates follow how particles were imaged, and warn where they do.

    Parameters
    ----------
    properties : of all particles.
    names : of the coordinates.
    coordinates : of the particles looked at.
    chosen : the places of these; of tilt series, of one image each: what a particle's images share they share by
        chance as well.
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
