"""Score a run, or a classification, against a simulated truth: every metric that it and the truth allow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as, write_json
from libhetero.configuration.limits import MOST_BATCH, MOST_DENSITY, MOST_MASS, MOST_PARTICLES, MOST_SEED
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig
from libhetero.pipelines.evaluate import EvaluateConfig
from libhetero.pipelines.validate import ValidateConfig

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreConfig:
    """What to score."""

    run: str = option(positional="RUN", help="run folder, such as hype_00, or folder of e2hype_classify.py")
    truth: str | None = option(
        None,
        "--truth",
        metavar="FOLDER",
        help="truth of the simulation",
        shown_default="the folder truth beside the run's stack",
    )
    json: str | None = option(
        None, "--json", metavar="FILE", help="write the scores here too", shown_default="print only"
    )
    images: int = option(
        100,
        "--images",
        metavar="N",
        least=0,
        most=MOST_PARTICLES,
        help="particles whose own volume is scored, evenly spread; 0 for no volumes",
    )
    limit: int = option(
        20_000,
        "--limit",
        metavar="N",
        least=2,
        most=MOST_PARTICLES,
        help="most images of the consensus, and most particles whose Gaussians are decoded",
    )
    batch_size: int = option(
        32, "--batchsz", metavar="N", least=1, most=MOST_BATCH, help="images read and decoded at once"
    )
    mask: str = option("sphere", "--mask", metavar="MASK", help="FSC mask: sphere, none, or a map with values 0 to 1")
    level: float | None = option(
        None,
        "--level",
        metavar="L",
        least=-MOST_DENSITY,
        most=MOST_DENSITY,
        help="fixed level for Chamfer distance and vIoU, in the true maps' unit",
        shown_default="a quarter of their highest value",
    )
    mass: float | None = option(
        None,
        "--mass",
        metavar="KDA",
        above=0,
        most=MOST_MASS,
        help="molecular mass in kDa, for the level that encloses it",
        shown_default="the truth's",
    )
    symmetry: str | None = same_as(
        GmmConfig,
        "symmetry",
        None,
        group="",
        help="symmetry of the structure, c4, d2, t, o, i …: of the true poses that give one image, the nearest counts",
        shown_default="the run's",
    )
    seed: int = option(0, "--seed", metavar="N", least=0, most=MOST_SEED, help="of k-means")
    embedding: str | None = same_as(EvaluateConfig, "embedding", group="", help="whose classes are scored, by its name")
    segmentation: str | None = same_as(ValidateConfig, "segmentation", help="that is scored, by its name")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class ScoreResult:
    """The scores.

    Parameters
    ----------
    values : JSON types; null where a number does not exist.
    lines : the same as a table for people, with every definition.
    """

    values: dict[str, Any]
    lines: list[str]


def run(config: ScoreConfig, progress: Callable[[float], None] = lambda fraction: None) -> ScoreResult:
    """Score a run.

    Parameters
    ----------
    config : what to score.
    progress : told the fraction done, 0 to 1.

    Raises
    ------
    UserError : one line, if the run, the truth or the mask is missing or they do not fit.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.classifying.record import is_classification
    from libhetero.pipelines.scoring.table import finite, table

    score = _score_classification if is_classification(config.run) else _score_run
    values = finite(score(config, progress))
    if config.json is not None:
        write_json(Path(config.json), values)
    return ScoreResult(values, table(values))


def _score_run(config: ScoreConfig, progress: Callable[[float], None]) -> dict[str, Any]:
    from libhetero.pipelines.decoding.gaussians import has_mixtures
    from libhetero.pipelines.decoding.particle_findings import FINDINGS
    from libhetero.pipelines.run.folder import open_run
    from libhetero.pipelines.run.poses import FOUND
    from libhetero.pipelines.scoring.gaussians import score_gaussians
    from libhetero.pipelines.scoring.labels import score_labels
    from libhetero.pipelines.scoring.particles import score_particles, score_poses
    from libhetero.pipelines.scoring.subject import of_run
    from libhetero.pipelines.scoring.truth import places_in_truth, truth_of

    opened = open_run(config.run).reading(config.embedding, config.segmentation)
    truth = truth_of(opened.particles, config.truth)
    places = places_in_truth(opened.particles, truth)
    values = _begun(config, opened.folder, opened.model.family, truth, len(opened.particles))
    values |= score_particles(opened.folder / FINDINGS, truth, places)
    values |= _posed(
        score_poses(opened.particles, opened.folder / FOUND, truth, places, _symmetry(config, opened.model.config))
    )
    if truth.kind != "motion":
        values["labels"] = score_labels(opened, truth, places, config.seed, config.batch_size)
    if has_mixtures(opened) and truth.position is not None:
        values["gaussians"] = score_gaussians(
            opened, truth, places, config.limit, config.batch_size, lambda f: progress(0.4 * f)
        )
    return values | score_volumes(config, of_run(opened), truth, places, lambda f: progress(0.4 + 0.6 * f))


def _score_classification(config: ScoreConfig, progress: Callable[[float], None]) -> dict[str, Any]:
    from libhetero.pipelines.classifying.record import PARTICLES, open_classification
    from libhetero.pipelines.scoring.labels import CLASSES, score_class_files
    from libhetero.pipelines.scoring.particles import score_particles, score_poses
    from libhetero.pipelines.scoring.subject import of_classification
    from libhetero.pipelines.scoring.truth import places_in_truth, truth_of

    for flag, name in (("--embedding", config.embedding), ("--segmentation", config.segmentation)):
        if name is not None:
            raise ConfigurationError(f"{flag} {name} is of a run, and {config.run} is a classification; leave it out.")
    found = open_classification(config.run)
    particles = found.feed.particles
    truth = truth_of(particles, config.truth)
    places = places_in_truth(particles, truth)
    values = _begun(config, found.folder, "classification", truth, len(particles))
    values |= score_particles(found.folder / PARTICLES, truth, places)
    values |= _posed(score_poses(particles, None, truth, places, _symmetry(config, None)))
    if truth.kind != "motion":
        values["labels"] = score_class_files(found.folder.glob(CLASSES), particles, truth, places)
    return values | score_volumes(config, of_classification(found), truth, places, progress)


def _symmetry(config: ScoreConfig, model: Any) -> str:
    """Return the symmetry that is asked for, or that of a model by its configuration."""
    return config.symmetry if config.symmetry is not None else getattr(model, "symmetry", "c1")


def _posed(scores: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of poses by their name, nothing where there are none."""
    return {"poses": scores} if scores else {}


def _begun(config: ScoreConfig, folder: Path, family: str, truth: Any, particles: int) -> dict[str, Any]:
    """Return what the scores begin with; `truth` is a `libhetero.pipelines.scoring.truth.Truth`."""
    return {
        "run": str(folder),
        "truth": str(truth.folder),
        "family": family,
        "kind": truth.kind,
        "particles": particles,
        "mask": config.mask,
    }


def score_volumes(
    config: ScoreConfig, subject: Any, truth: Any, places: Any, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Return the scores of the volumes, where the truth has maps and they are asked for."""
    from libhetero.pipelines.scoring.volumes import VolumeScore, fsc_mask

    if config.images == 0:
        return {}
    if not truth.has_maps:
        LOGGER.warning(
            "%s: has no maps of the pieces, which simulations of before did not write; volumes are not scored. "
            "Simulate the set again for them.",
            truth.folder,
        )
        return {}
    scoring = VolumeScore(
        images=config.images,
        batch_size=config.batch_size,
        limit=config.limit,
        mask=fsc_mask(config.mask, subject.box_size, subject.pixel_size),
        level=config.level,
        mass=None if config.mass is None else 1000 * config.mass,
    )
    return {"volumes": scoring.score(subject, truth, places, progress)}
