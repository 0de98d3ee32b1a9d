"""Score a run against a simulated truth: every metric that the run and the truth allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.configuration import write_json
from libhetero.errors import ConfigurationError
from libhetero.io import read_volume
from libhetero.physics.masks import soft_sphere
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.pipelines.scoring.gaussians import score_gaussians
from libhetero.pipelines.scoring.labels import score_labels
from libhetero.pipelines.scoring.table import finite, table
from libhetero.pipelines.scoring.truth import Truth, map_in_box, open_truth, places_in_truth
from libhetero.pipelines.scoring.volumes import VolumeScore

SPHERE, NO_MASK = "sphere", "none"


@dataclass(frozen=True)
class ScoreConfig:
    """What to score.

    Parameters
    ----------
    run : run folder.
    truth : truth folder; None for the one beside the run's particles.
    json : file to write the scores to; None to write none.
    images : particles whose own volume is scored; 0 for no volumes.
    limit : most images of the consensus, and most particles whose Gaussians are decoded.
    batch_size : images read and decoded at once.
    mask : "sphere", "none", or a map with values 0 to 1 in the truth's box.
    level : fixed level of Chamfer distance and vIoU, in the unit of the true maps; None for a quarter
        of their highest value.
    mass : molecular mass in kDa; None takes the truth's.
    seed : of k-means.
    """

    run: str
    truth: str | None = None
    json: str | None = None
    images: int = 100
    limit: int = 20_000
    batch_size: int = 32
    mask: str = SPHERE
    level: float | None = None
    mass: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("images", 0), ("limit", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        if self.mass is not None and self.mass <= 0:
            raise ConfigurationError(f"mass is {self.mass:g} kDa; expected a positive number.")


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
    opened = open_run(config.run)
    truth = open_truth(_truth_folder(config, opened))
    places = places_in_truth(opened.particles, truth)
    values: dict[str, Any] = {
        "run": str(opened.folder),
        "truth": str(truth.folder),
        "family": opened.model.family,
        "kind": truth.kind,
        "particles": len(opened.particles),
        "mask": config.mask,
    }
    if truth.kind != "motion":
        values["labels"] = score_labels(opened, truth, places, config.seed, config.batch_size)
    if opened.model.family == "gmm" and truth.position is not None:
        values["gaussians"] = score_gaussians(
            opened, truth, places, config.limit, config.batch_size, lambda f: progress(0.4 * f)
        )
    if truth.has_maps and config.images > 0:
        scoring = VolumeScore(
            images=config.images,
            batch_size=config.batch_size,
            limit=config.limit,
            mask=_mask(config, opened, truth),
            level=config.level,
            mass=None if config.mass is None else 1000 * config.mass,
        )
        values["volumes"] = scoring.score(opened, truth, places, lambda f: progress(0.4 + 0.6 * f))
    values = finite(values)
    if config.json is not None:
        write_json(Path(config.json), values)
    return ScoreResult(values, table(values))


def _truth_folder(config: ScoreConfig, opened: Run) -> Path:
    if config.truth is not None:
        return Path(config.truth)
    folder = Path(opened.particles.files[0]).parent / "truth"
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder}: no such folder; expected the truth beside the stack. Give it with --truth."
        )
    return folder


def _mask(config: ScoreConfig, opened: Run, truth: Truth) -> np.ndarray | None:
    """Return the FSC mask in the run's box: none, a ball inside the box, or a file."""
    n, pixel_size = opened.model.box_size, opened.model.pixel_size
    if config.mask == NO_MASK:
        return None
    if config.mask == SPHERE:
        return np.asarray(soft_sphere(n, n / 2 - n / 16, n / 16))
    volume, found = read_volume(config.mask, None)
    return np.clip(map_in_box(volume, found, n, pixel_size), 0, 1)
