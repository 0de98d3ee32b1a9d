"""What a run says of each particle besides its structure: contrast, junk, and how sure it is of its latents.

particles_00.txt    contrast, its deviation, evidence, probability of being junk
mid_00_sd.txt       deviation of each latent
poses_00.txt        what the list's poses are off by
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from libhetero.io.particle_findings import ParticleFindings, read_findings
from libhetero.io.pose_changes import at_refined_poses
from libhetero.metrics.calibration import errors_over_deviations
from libhetero.metrics.detection import detection
from libhetero.metrics.poses import common_frame, nearest_poses, pose_errors
from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.decoding.particle_findings import latents_and_deviations
from libhetero.pipelines.run.poses import poses_of
from libhetero.pipelines.scoring.truth import Truth
from libhetero.records import ParticleSet, Pose

LEAST_FRAME = 5.0  # degrees, of a turn of all poses together that is told


def score_particles(path: Path, truth: Truth, places: np.ndarray) -> dict[str, Any]:
    """Return the scores of contrast and of junk, where the run says and the truth knows them.

    Parameters
    ----------
    path : of what is said of each particle; there may be no such file.
    places : (N,) place of each particle in the truth.
    """
    if not path.exists():
        return {}
    said = read_findings(path, len(places))
    scores: dict[str, Any] = {}
    real = real_particles(truth, places)
    if truth.contrast is not None:
        scores["contrast"] = score_contrast(said, truth.contrast[places], real)
    if not real.all() or said.junk.any():
        scores["junk"] = detection(said.junk, ~real)
    return scores


def score_poses(
    particles: ParticleSet, path: Path | None, truth: Truth, places: np.ndarray, symmetry: str = "c1"
) -> dict[str, dict[str, float | int]]:
    """Return by how much poses are off, as listed and as refined; nothing where they were not, or the truth is listed.

    Parameters
    ----------
    particles : of the run, at the poses that it was trained with.
    path : of what it says of poses that it solved for; there may be no such file; None for none.
    places : (N,) place of each particle in the truth.
    symmetry : of the structure: of the true poses that give the same image, the nearest counts.

    Returns
    -------
    of "given" and "refined" poses "rotation", degrees, and "shift", Å: medians over the particles that are no junk of
    the angle, and of the length, between them and the true ones; "z" of the refined ones, the deviation of their five
    errors over what the run says it is. Where all are turned together by more than a few degrees, or mirrored, "frame"
    has the "turn" of the whole, degrees, whether they are "mirrored", 0 or 1, and "rotation" and "shift" in that frame.
    """
    if particles.given is None and path is not None and path.exists():
        particles = at_refined_poses(particles, poses_of(path, particles))
    if particles.given is None or particles.pose is None or truth.rotation is None or truth.shift is None:
        return {}
    real = real_particles(truth, places)
    true = Pose(rotation=truth.rotation[places][real], shift=truth.shift[places][real])
    operators = symmetry_operators(symmetry)
    scores: dict[str, dict[str, float | int]] = {}
    for name, pose in (("given", particles.given.pose), ("refined", particles.pose)):
        nearest = nearest_poses(pose.take(real), true, operators)
        turn, off = pose_errors(pose.take(real), nearest.rotation, nearest.shift)
        scores[name] = _medians(turn, off)
    found = particles.pose.take(real)
    frame = common_frame(found, true, operators)
    if frame.mirrored or np.degrees(frame.angle) > LEAST_FRAME:
        placed = frame.of(nearest_poses(found, true, operators, frame))
        turn, off = pose_errors(found, placed.rotation, placed.shift)
        scores["frame"] = {
            "turn": float(np.degrees(frame.angle)),
            "mirrored": int(frame.mirrored),
            **_medians(turn, off),
        }
    change = particles.given.change.take(real)
    scores["refined"]["z"] = float(
        np.sqrt(
            (_spread_of(turn, change.turn_deviation) ** 2 * 3 + _spread_of(off, change.shift_deviation) ** 2 * 2) / 5
        )
    )
    return scores


def _medians(turn: Float[np.ndarray, "particles 3"], off: Float[np.ndarray, "particles 2"]) -> dict[str, float]:
    return {
        "rotation": float(np.degrees(np.median(np.linalg.norm(turn, axis=1)))),
        "shift": float(np.median(np.linalg.norm(off, axis=1))),
    }


def real_particles(truth: Truth, places: np.ndarray) -> Bool[np.ndarray, "particles"]:
    """Return which particles of a run are no junk, (N,) bool: all, where the truth does not tell."""
    return np.ones(len(places), bool) if truth.junk is None else truth.junk[places] == 0


def score_contrast(
    said: ParticleFindings, true: Float[np.ndarray, "particles"], real: Bool[np.ndarray, "particles"]
) -> dict[str, float]:
    """Return how contrasts agree with the true ones.

    Parameters
    ----------
    real : which particles are taken.

    Returns
    -------
    "correlation", Pearson's, NaN where either is constant; "spread", the deviation of the estimates about their mean,
    over their mean, beside "true_spread"; "z", the deviation of their errors over what they say their deviation is,
    both contrasts divided by their means.
    """
    found, deviation = said.contrast[real], said.contrast_deviation[real]
    scale, true = found.mean(), true[real] / true[real].mean()
    error = found / scale - true
    constant = np.ptp(found) == 0 or np.ptp(true) == 0
    return {
        "correlation": float("nan") if constant else float(np.corrcoef(found, true)[0, 1]),
        "spread": float(found.std() / scale),
        "true_spread": float(true.std()),
        "z": _spread_of(error, deviation / scale),
    }


def score_deviations(
    folder: Path, truth: Truth, pieces: np.ndarray, chosen: np.ndarray, places: np.ndarray
) -> dict[str, Any] | None:
    """Return the deviation of errors ÷ said deviations, over the presence and the angles of some pieces.

    1 where the run's deviations are true, more where it is too sure; None where the run has none.

    Parameters
    ----------
    folder : of the run.
    pieces : (pieces,) bool, those whose change the run has found.
    chosen : particles of the run to take.
    places : (N,) place of each particle of the run in the truth.
    """
    said = latents_and_deviations(folder, len(places)) if pieces.any() else None
    if said is None:
        return None
    latent, deviation = (numbers[chosen] for numbers in said)
    found = {}
    for name, table in (("presence", truth.states), ("angle", truth.angles)):
        if table is None:
            continue
        for piece in np.flatnonzero(pieces):
            true = np.asarray(table[places[chosen], piece], np.float64)
            if np.ptp(true) > 0:
                found[f"{name} {piece}"] = float(errors_over_deviations(latent, deviation, true).std())
    return {"z": float(np.sqrt(np.mean(np.square(list(found.values()))))), "each": found} if found else None


def _spread_of(error: np.ndarray, deviation: np.ndarray) -> float:
    known = deviation > 0
    return float(np.sqrt(np.mean((error[known] / deviation[known]) ** 2))) if known.any() else float("nan")
