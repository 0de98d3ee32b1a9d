"""Decoded Gaussians against the atoms: who is there, who moves with whom, and how far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from libhetero.metrics.amplitude import amplitude_accuracy, closest_atoms, percentile_reference, relative_amplitude
from libhetero.metrics.motion import about_mean, displacement_rmsd
from libhetero.metrics.regions import RECOVERED
from libhetero.pipelines.decoding.gaussians import neutral_gaussians
from libhetero.pipelines.decoding.mid_latent import LatentStream
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.scoring.particles import real_particles, score_deviations
from libhetero.pipelines.scoring.regions import (
    optional_pieces,
    read_regions,
    score_angles,
    score_classes,
    score_kinds,
    score_regions,
)
from libhetero.pipelines.scoring.truth import Truth
from libhetero.records import Gaussians

BUDGET = 2**27  # decoded numbers held at once, 512 MiB


def score_gaussians(
    run: Run, truth: Truth, places: np.ndarray, limit: int, batch_size: int, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Return amplitude accuracy, agreement of regions and motion, whichever the truth allows; junk is left out.

    What regions say of particles, their classes (assembly) or coordinates (motion), is scored where
    the run was segmented.

    Parameters
    ----------
    places : (N,) place of each particle of the run in the truth.
    limit : most particles decoded, evenly spread.
    batch_size : particles decoded at once.
    progress : told the fraction done.
    """
    neutral = neutral_gaussians(run)
    count = len(neutral.amplitude)
    atom, distance = closest_atoms(neutral.position, truth.known(truth.position, "atoms"))
    piece = truth.known(truth.piece, "pieces")[atom]
    chosen = chosen_particles(truth, places, min(limit, BUDGET // (4 * count)))
    scores: dict[str, Any] = {
        "gaussians": count,
        "particles": len(chosen),
        "mean_distance_to_atom": float(distance.mean()),
    }
    region = read_regions(run.regions_folder, count)
    if region is not None:
        scores["regions"] = score_regions(region, piece, truth)
        scores["kinds"] = score_kinds(run.regions_folder, scores["regions"], truth)
    decoded = decode_gaussians(run, chosen, batch_size, progress)
    if truth.kind == "assembly":
        states = truth.known(truth.states, "states")[places[chosen]]
        reference = percentile_reference(decoded.amplitude)
        scores["amplitude"] = {
            name: amplitude_accuracy(decoded.amplitude, against, piece, states)
            for name, against in (("neutral", neutral.amplitude), ("percentile", reference))
        }
        if region is not None:
            relative = relative_amplitude(decoded.amplitude, reference)
            scores["classes"] = score_classes(
                run.regions_folder, region, scores["regions"]["match"], relative, chosen, run.particles, states, truth
            )
    if truth.angles is not None:
        angles = truth.angles[places[chosen]]
        there = ~optional_pieces(truth)[piece]  # who is away moves nowhere
        scores["motion"] = score_motion(decoded.position[:, there], neutral.position[there], atom[there], truth, angles)
        if region is not None:
            match = scores["regions"]["match"]
            scores["angles"] = score_angles(run.regions_folder, match, chosen, len(run.particles), angles, truth)
    if region is not None:
        recovered = np.asarray(scores["regions"]["iou"]) >= RECOVERED
        scores["deviations"] = score_deviations(run.folder, truth, recovered, chosen, places)
    return scores


def chosen_particles(truth: Truth, places: np.ndarray, most: int) -> np.ndarray:
    """Return particles to decode, evenly spread over those that are no junk."""
    real = np.flatnonzero(real_particles(truth, places))
    return real[spread_indices(len(real), min(most, len(real)))]


def decode_gaussians(run: Run, indices: np.ndarray, batch_size: int, progress: Callable[[float], None]) -> Gaussians:
    """Return the decoded mixtures of particles, leading axis particles, as NumPy arrays."""
    decode, parts, done = jax.jit(run.model.decode), [], 0
    for latent in LatentStream(run.model, run.params, run.feed(), batch_size).blocks(indices):
        for start in range(0, len(latent), batch_size):
            parts.append(jax.tree.map(np.asarray, decode(run.params, latent[start : start + batch_size])))
        done += len(latent)
        progress(done / len(indices))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def true_displacement(truth: Truth, atom: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return how far atoms are turned about the hinges of their pieces, (particles, atoms, 3), Å.

    Parameters
    ----------
    atom : (G,) atoms wanted.
    angles : (particles, pieces), radians, right-handed about each piece's axis.
    """
    position, piece = truth.known(truth.position, "atoms")[atom], truth.known(truth.piece, "pieces")[atom]
    hinges, axes = (np.asarray(table, np.float64) for table in (truth.document.hinges, truth.document.axes))
    displacement = np.zeros((len(angles), len(atom), 3), np.float32)
    for k in range(angles.shape[1]):
        inside = piece == k
        axis = axes[k] / np.linalg.norm(axes[k])
        arm = position[inside] - hinges[k]
        along = np.outer(arm @ axis, axis)
        cosine, sine = (f(angles[:, k])[:, None, None] for f in (np.cos, np.sin))
        turned = along + cosine * (arm - along) + sine * np.cross(axis, arm)
        displacement[:, inside] = turned - arm
    return displacement


def score_motion(
    decoded: np.ndarray, neutral: np.ndarray, atom: np.ndarray, truth: Truth, angles: np.ndarray
) -> dict[str, float]:
    """Return the mean over particles of the displacement's RMSD (Å), beside that of no motion at all."""
    found = decoded - neutral[None]
    true = true_displacement(truth, atom, angles)
    return {
        "rmsd": float(displacement_rmsd(found, true).mean()),
        "rmsd_about_mean": float(displacement_rmsd(about_mean(found), about_mean(true)).mean()),
        "rmsd_without_motion": float(displacement_rmsd(np.zeros_like(true), true).mean()),
    }
