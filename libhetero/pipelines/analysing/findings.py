"""What the latents of a run's particles say: components, density, states, and what they follow of the imaging."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.confounders import Followed
from libhetero.analysis.latent_density import LatentDensity, PlanePosterior, latent_density, mean_in_cells
from libhetero.analysis.paths import principal_components
from libhetero.errors import ConfigurationError
from libhetero.files import remove_figures, remove_stale
from libhetero.io import write_latent
from libhetero.io.cs_table import read_table as read_cs_table
from libhetero.io.origin import original_table
from libhetero.io.star import read_table
from libhetero.pipelines.decoding.particle_findings import latent_deviations, particle_findings
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.validating.imaging import followed, micrographs_of, properties_of
from libhetero.records import ParticleSet
from libhetero.report.latent import draw_columns, draw_components, draw_density
from libhetero.telling.waiting import working
from libhetero.tilts import one_image_each
from libhetero.training.course import Course, percent
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)
FOLDER = "analysis"
COMPONENTS, COLUMNS, DENSITY = "components.png", "columns.png", "density.png"
STATES, PATH = "states.txt", "path.txt"
FEWEST = 3  # epochs of which changes are told
SHOWN = 4  # components in figures, and in tests of what latents follow
NODES = 9  # of the path between two states, whose latents are written
LARGEST = 5000  # particles that tests of what latents follow are made with


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of the latents.

    Parameters
    ----------
    label : class of each particle, -1 for none.
    explained : part of the variance that each principal component holds.
    density : in the plane of the first two components; None where the latents are one number.
    followed : what the components follow of the imaging.
    kept : folder of the embedding.
    """

    label: Int[np.ndarray, "particles"]
    explained: Float[np.ndarray, "components"]
    density: LatentDensity | None
    followed: Followed
    kept: Path

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(np.unique(self.label[self.label >= 0]).size)


def columns_of(run: Run, asked: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what is known of each particle, by name, to colour a plane by.

    Parameters
    ----------
    run : of the particles.
    asked : further columns of the .star or .cs that the particles come from.

    Raises
    ------
    ConfigurationError : if there is no such column, or it holds no numbers.
    """
    particles = run.particles
    found: dict[str, np.ndarray] = {}
    if particles.ctf is not None:
        ctf = particles.ctf
        found["defocus (µm)"] = 0.5e-4 * (np.asarray(ctf.defocus_u, np.float64) + np.asarray(ctf.defocus_v, np.float64))
    if particles.pose is not None:
        view = np.asarray(particles.pose.rotation, np.float64)[:, 2]
        found["view: cosine of the tilt"] = view[:, 2]
        found["view: azimuth (degrees)"] = np.degrees(np.arctan2(view[:, 1], view[:, 0]))
    findings = particle_findings(run)
    if findings is not None:
        if np.any(findings.contrast_deviation > 0):
            found["contrast"] = np.asarray(findings.contrast, np.float64)
        found["log-likelihood ratio, molecule to noise alone"] = np.asarray(findings.evidence, np.float64)
        if np.any(findings.junk > 0):
            found["probability of being junk"] = np.asarray(findings.junk, np.float64)
    if particles.half_set is not None:
        found["half-set"] = np.asarray(particles.half_set, np.int64) + 1
    micrograph = micrographs_of(particles)
    if micrograph is not None:
        found["micrograph (number)"] = np.unique(micrograph, return_inverse=True)[1].ravel().astype(np.int64)
    return found | {name: _column(particles, name) for name in asked}


def _column(particles: ParticleSet, name: str) -> np.ndarray:
    """Return a column of the table behind a list."""
    star, cs = original_table(particles, "star", read_table), original_table(particles, "cs", read_cs_table)
    values: Any = None
    known: Sequence[str] = ()
    if star is not None:
        table, rows = star
        known, values = sorted(table.particles.columns), table.column(name.removeprefix("_"), rows)
    elif cs is not None:
        known = cs[0].particles.dtype.names or ()
        values = cs[0].particles[name][cs[1]] if name in known else None
    if values is None:
        there = f"it has {', '.join(known)}" if len(known) else "the particles come from no .star or .cs"
        raise ConfigurationError(f"--columns {name}: there is no such column; {there}.")
    try:
        numbers = np.asarray(values, np.float64)
    except ValueError:
        kinds, number = np.unique(np.asarray(values, str), return_inverse=True)
        LOGGER.info("--columns %s holds names: coloured by their number, 0 to %d", name, len(kinds) - 1)
        numbers = number.ravel().astype(np.float64)
    if numbers.ndim != 1:
        raise ConfigurationError(f"--columns {name}: {numbers.shape[1]} values a particle; expected one.")
    whole = np.array_equal(numbers, np.rint(numbers))
    return numbers.astype(np.int64) if whole else numbers


def write_findings(
    run: Run,
    latent: Float[np.ndarray, "particles columns"],
    embedded: Any,
    columns: dict[str, np.ndarray],
    seed: int,
    components: int = SHOWN,
) -> Findings:
    """Write figures and tables of the latents into RUN/analysis.

    Parameters
    ----------
    run : of the particles.
    latent : of each; of tilt series, of each image, and the particles are counted once each.
    embedded : their plane and classes, as `libhetero.pipelines.embed` gives them.
    columns : to colour the plane by.
    seed : of samples and permutations.
    components : whose part of the variance is told, if there are as many; the figure has `SHOWN` at most.
    """
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    first, _ = one_image_each(run.particles)
    latent = latent[first]
    mean, scores, axes, explained = principal_components(latent, max(SHOWN, components))
    scores, axes = scores[:, :SHOWN], axes[:, :SHOWN]
    draw_components(folder / COMPONENTS, scores, explained[:SHOWN])
    remove_stale(folder, STATES, PATH)
    remove_figures(folder, COLUMNS, DENSITY)
    label = np.asarray(embedded.label)
    colours = {"class": label, **columns}
    draw_columns(folder / COLUMNS, embedded.plane, colours, embedded.names)
    density = None
    if scores.shape[1] > 1:
        with working(LOGGER.info, f"density of {len(latent)} particles"):
            density = _density(run, first, mean, axes, scores, seed)
        places = (density.places(density.states), density.share, density.places(density.path))
        draw_density(folder / DENSITY, density.x, density.y, density.value, *places, explained)
        _write_states(folder, density, scores[:, :2], latent)
    chosen = sample_indices(len(latent), LARGEST, seed)
    names = tuple(f"latent component {number + 1}" for number in range(scores.shape[1]))
    properties = properties_of(run.particles, particle_findings(run), run.particles.half_set)
    with working(LOGGER.info, "tests of what the latents follow of the imaging"):
        found = followed(properties, names, scores[chosen], first[chosen], seed)
    return Findings(label, explained, density, found, embedded.folder)


def _density(
    run: Run, places: np.ndarray, mean: np.ndarray, axes: np.ndarray, scores: np.ndarray, seed: int
) -> LatentDensity:
    """Return the density in the plane of two components, freed of the particles' own uncertainty where it is known.

    Parameters
    ----------
    places : of the particles in the run, one image each.
    mean, axes, scores : of their latents, as `principal_components` gives them.
    seed : of the particles drawn where there are many.
    """
    deviation, posterior = latent_deviations(run), None
    if deviation is not None:
        plane = axes[:, :2]
        covariance = np.einsum("ck,nc,cl->nkl", plane, np.asarray(deviation, np.float64)[places] ** 2, plane)
        posterior = PlanePosterior(covariance, -mean @ plane, plane.T @ plane)
    return latent_density(scores[:, :2], posterior, seed)


def _write_states(folder: Path, density: LatentDensity, plane: np.ndarray, latent: np.ndarray) -> None:
    """Write the mean latents at the states, and along the path between two, as e2hype_eval.py --latent takes them."""
    at = mean_in_cells(density, density.states, plane, latent)
    write_latent(folder / STATES, np.arange(len(at)), at)
    if len(density.path):
        nodes = density.path[np.unique(np.linspace(0, len(density.path) - 1, NODES).astype(int))]
        write_latent(folder / PATH, np.arange(len(nodes)), mean_in_cells(density, nodes, plane, latent))


def convergence(log: Sequence[dict[str, Any]]) -> str:
    """Return in a sentence how the signal explained, or else the loss, changed in the last epochs; "" for too few.

    Parameters
    ----------
    log : reports of the run.
    """
    course = Course(log)
    means = course.means("signal")[1]
    if len(means) >= FEWEST:
        last, before, whole = (_signed(one) for one in (means[-1] - means[-2], means[-2] - means[-3], np.ptp(means)))
        return (
            f"The model explains {percent(means[-1])} of the images' signal; that changed by {last} in the last of "
            f"{len(means)} epochs, by {before} in the one before, and no two epochs differ by more than {whole[1:]}."
        )
    means = course.means("loss")[1]
    if len(means) < FEWEST:
        return ""
    change = np.diff(means)
    return (
        f"The mean loss of an epoch changed by {change[-1]:+.3g} in the last of {len(means)} epochs, by "
        f"{change[-2]:+.3g} in the one before, and by {change.sum():+.3g} in all."
    )


def _signed(share: float) -> str:
    shown = percent(share, 2)
    return shown if shown.startswith("-") else f"+{shown}"
