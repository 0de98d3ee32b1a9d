"""Which particles show the molecule, and how strongly: the files of a run that say so, and the lists that carry it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.errors import DataError
from libhetero.files import remove_stale
from libhetero.io import read_latent, write_particles
from libhetero.io.particle_findings import ParticleFindings, read_findings, write_findings
from libhetero.io.pose_changes import at_refined_poses
from libhetero.models.contrast import ContrastPrior, fit_contrast, junk_probability
from libhetero.pipelines.decoding.mid_latent import deviation_path
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import LATENTS, Run
from libhetero.pipelines.run.particle_record import LIST
from libhetero.pipelines.run.particles import listed_particles
from libhetero.pipelines.run.poses import FOUND, poses_of, write_poses
from libhetero.records import ParticleEstimates, ParticleSet, PoseChange, Posterior
from libhetero.report.evidence import draw_evidence
from libhetero.tilts import distinct_among, one_image_each
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
FINDINGS, JUNK, FIGURE = "particles_00.txt", "ptcls_junk.lst", "evidence.png"


def findings_of(
    posterior: Posterior, bad: np.ndarray, of: Int[np.ndarray, "images"] | None = None
) -> tuple[ParticleFindings, ContrastPrior]:
    """Return what is known of each image with its particle's probability of being junk, and the set's contrasts.

    Whether a particle of several images is junk, all of them tell together, by

        α̂ = Σ (α̂_i / σ_i²) / Σ (1 / σ_i²),      σ = (Σ 1 / σ_i²)^(-1/2)

    and each of them has the particle's probability. Contrast and evidence are of the image.

    Parameters
    ----------
    posterior : of every image.
    bad : places of those that were left out, and which therefore say nothing.
    of : which particle each image shows, as in `one_image_each`; None where each shows its own.
    """
    estimate = np.asarray(posterior.contrast, np.float64)
    deviation = np.asarray(posterior.contrast_deviation, np.float64)
    left_out = np.isin(np.arange(len(estimate)), bad)
    told = estimate, np.where(left_out, np.nan, deviation)
    if of is not None:
        told = _together(*told, of)
    prior = fit_contrast(*told)
    junk = np.zeros(len(told[0]))
    if prior.junk:
        junk = np.nan_to_num(np.asarray(junk_probability(*told, prior), np.float64))
    if of is not None:
        junk = junk[of]
    evidence = np.asarray(posterior.evidence, np.float64)
    poses = posterior.poses
    if poses is not None:
        poses = _of_molecules(poses, left_out | (junk > 0.5))
    return ParticleFindings(estimate, deviation, evidence, junk, poses), prior


def _together(
    estimate: Float[np.ndarray, "images"], deviation: Float[np.ndarray, "images"], of: Int[np.ndarray, "images"]
) -> tuple[Float[np.ndarray, "particles"], Float[np.ndarray, "particles"]]:
    """Return α̂ and σ of particles of several images; 0 and NaN where no image says anything."""
    known = np.isfinite(estimate) & np.isfinite(deviation) & (deviation > 0)
    weight = np.zeros(len(of))
    weight[known] = 1 / deviation[known] ** 2
    whole = np.bincount(of, weight)
    said = np.where(whole > 0, whole, np.nan)
    return np.nan_to_num(np.bincount(of, weight * np.where(known, estimate, 0.0)) / said), 1 / np.sqrt(said)


def _of_molecules(poses: PoseChange, nothing: Bool[np.ndarray, "particles"]) -> PoseChange:
    """Return what poses are off by, of what shows no molecule nothing, known as well as those of the others vary."""
    parts = {name: np.array(part, np.float64) for name, part in vars(poses).items()}
    nothing = nothing | ~np.all([np.isfinite(part).all(axis=1) for part in parts.values()], axis=0)
    for name in ("turn", "shift"):
        mean, deviation = parts[name], parts[f"{name}_deviation"]
        spread = np.sqrt(np.mean(mean[~nothing] ** 2 + deviation[~nothing] ** 2)) if not nothing.all() else 0.0
        mean[nothing], deviation[nothing] = 0.0, spread
    return PoseChange(**parts)


def write_particle_findings(folder: Path, feed: ParticleFeed, data: DataConfig, posterior: Posterior) -> None:
    """Write particles_00.txt, the list of what looks like junk, the list of all with both, and the figure.

    Where poses were refined with the latent, what they are off by is in poses_00.txt, and the lists are at the refined
    poses.

    Parameters
    ----------
    folder : of the run.
    feed : all particles.
    data : as the run names them.
    posterior : of every particle.
    """
    bad = np.zeros(0, np.int64) if feed.bad is None else feed.bad.places()
    of = None if feed.particles.group is None else one_image_each(feed.particles)[1]
    findings, prior = findings_of(posterior, bad, of)
    particles = listed_particles(estimated(feed.particles, findings), data)
    write_findings(folder / FINDINGS, findings)
    if findings.poses is not None:
        write_poses(folder / FOUND, findings.poses)
    write_particles(folder / LIST, particles)
    draw_evidence(folder / FIGURE, findings.evidence, findings.junk, findings.contrast)
    junk = np.flatnonzero(findings.junk > 0.5)
    if np.any(findings.contrast_deviation > 0):
        LOGGER.info("contrast of particles: mean %.3f, standard deviation %.3f", prior.mean, prior.spread)
    if len(junk):
        write_particles(folder / JUNK, particles.take(junk))
        count = distinct_among(feed.particles, junk)
        LOGGER.warning(
            "%d particles (%.1f%%) look like junk (their images show nothing of the molecule); %s",
            count,
            100 * count / feed.particles.distinct,
            JUNK,
        )
    else:
        remove_stale(folder, JUNK)


def estimated(particles: ParticleSet, findings: ParticleFindings | None) -> ParticleSet:
    """Return particles whose lists carry contrast, junk and refined poses; as they are where nothing is known."""
    if findings is None:
        return particles
    estimates = ParticleEstimates(np.asarray(findings.contrast), np.asarray(findings.junk))
    if findings.poses is not None and particles.given is None:
        particles = at_refined_poses(particles, findings.poses)
    return dataclasses.replace(particles, estimates=estimates)


def particle_findings(run: Run) -> ParticleFindings | None:
    """Return what a run says of each particle; None for runs that were finished before there was such a file.

    Raises
    ------
    DataError : if the file is damaged or of other particles.
    """
    return findings_in(run.folder, run.particles)


def particles_as_found(run: Run) -> ParticleSet:
    """Return the particles of a run with what it says of each, at the poses of its lists.

    Raises
    ------
    DataError : as `findings_in`.
    """
    return estimated(run.particles, particle_findings(run))


def findings_in(folder: Path, particles: ParticleSet) -> ParticleFindings | None:
    """Return what the files of a run folder say of each of its particles; None where they say nothing.

    Raises
    ------
    DataError : if a file is damaged, of other particles, or of poses that the list does not have any more.
    """
    path, poses = folder / FINDINGS, folder / FOUND
    if not path.exists():
        return None
    findings = read_findings(path, len(particles))
    return dataclasses.replace(findings, poses=poses_of(poses, particles)) if poses.exists() else findings


def particle_weights(run: Run) -> Float[np.ndarray, "particles"] | None:
    """Return how far each particle counts, 1 less its probability of being junk; None where a run does not know.

    Raises
    ------
    DataError : if the file is damaged or of other particles.
    """
    findings = particle_findings(run)
    return None if findings is None else 1 - np.clip(findings.junk, 0, 1)


def latent_deviations(run: Run) -> Float[np.ndarray, "particles latent"] | None:
    """Return the standard deviations of the latents of mid_00.txt; None where the run does not know them.

    Raises
    ------
    DataError : if the file is damaged, or not of these latents.
    """
    found = latents_and_deviations(run.folder, len(run.particles))
    return None if found is None else found[1]


def latents_and_deviations(
    folder: Path, count: int
) -> tuple[Float[np.ndarray, "particles latent"], Float[np.ndarray, "particles latent"]] | None:
    """Return the latents of a run folder's particles and their standard deviations; None where it has none of these.

    Parameters
    ----------
    folder : of a run.
    count : of its particles.

    Raises
    ------
    DataError : if a file is damaged, or the deviations are not of the latents.
    """
    latents = folder / LATENTS
    path = deviation_path(latents)
    if not path.exists():
        return None
    (index, latent), (named, deviation) = read_latent(latents), read_latent(path)
    if latent.shape != deviation.shape or len(latent) != count or not np.array_equal(index, named):
        raise DataError(
            f"{path}: {deviation.shape[1]} deviations of {len(named)} particles; expected those of the "
            f"{latent.shape[1]} latents of {count} particles in {latents.name}, in their order. Remove "
            f"{latents.name}, and both are made anew."
        )
    if deviation.min(initial=0) < 0:
        raise DataError(f"{path}: holds a standard deviation below 0. Remove {latents.name}, and both are made anew.")
    return latent, deviation
