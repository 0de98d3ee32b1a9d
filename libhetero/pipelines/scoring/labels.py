"""Classes of particles against their true labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.analysis.classes import kmeans_classes
from libhetero.metrics.calibration import right_where_sure
from libhetero.metrics.labels import label_agreement, with_the_most
from libhetero.pipelines.decoding.class_files import read_classes
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.run.folder import LATENTS, Run
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.scoring.particles import real_particles
from libhetero.pipelines.scoring.regions import class_probabilities
from libhetero.pipelines.scoring.truth import Truth
from libhetero.records import ParticleSet

CLASSES, REGION_CLASSES = "classes*.txt", "classes_region_*.txt"


def score_labels(run: Run, truth: Truth, places: np.ndarray, seed: int, batch_size: int) -> dict[str, Any]:
    """Return the agreement of k-means classes of the latents, and of the run's own classes.

    Parameters
    ----------
    run : its latents are scored if it has a file of them, encoded again if that is out of date.
    places : (N,) place of each particle of the run in the truth.
    seed : of k-means.
    batch_size : particles encoded at once.
    """
    labels = truth.known(truth.labels, "labels")[places]
    real = real_particles(truth, places)
    scores: dict[str, Any] = {}
    if (run.folder / LATENTS).exists():
        latent = particle_latents(run, batch_size)
        if latent.shape[1] > 0:
            count = len(np.unique(labels[real]))
            found = kmeans_classes(latent[real], count, seed)
            scores["kmeans"] = {"classes": count, **label_agreement(labels[real], found)}
    others = [path for path in run.classes_folder.glob(CLASSES) if not path.match(REGION_CLASSES)]
    paths = [*others, *run.regions_folder.glob(REGION_CLASSES)]
    return scores | score_class_files(paths, run.particles, truth, places)


def score_class_files(
    paths: Iterable[Path], particles: ParticleSet, truth: Truth, places: np.ndarray
) -> dict[str, Any]:
    """Return the agreement of tables of classes, by their names.

    Parameters
    ----------
    paths : of the tables.
    particles : of the run or the classification that they are of.
    places : (N,) place of each of them in the truth.
    """
    digest = list_digest(particles)
    return {path.name: _score_file(path, truth, places, digest) for path in sorted(paths)}


def _score_file(path: Path, truth: Truth, places: np.ndarray, digest: str) -> dict[str, Any]:
    """Score a file of classes: against the labels, or a region's against the piece it fits best; junk is left out."""
    index, label = read_classes(path, len(places), digest)
    kept = real_particles(truth, places)[index]
    index, label = index[kept], label[kept]
    classes = {"classes": len(np.unique(label[label >= 0]))}
    if truth.states is None or not path.match(REGION_CLASSES):
        labels = truth.known(truth.labels, "labels")[places][index]
        scores: dict[str, Any] = {**classes, **label_agreement(labels, label)}
        probability = class_probabilities(path)
        if probability is not None:
            scores["sure"] = right_where_sure(probability[kept], with_the_most(labels, label))
        return scores
    best: dict[str, Any] = {}
    for piece in range(1, truth.states.shape[1]):
        agreement = label_agreement(truth.states[places, piece][index], label)
        if not best or agreement["ari"] > best["ari"]:
            best = {**classes, "piece": piece, **agreement}
    return best
