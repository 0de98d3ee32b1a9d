"""The volumes of an analysis: of classes, along principal components, of states and along the path between two."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from libhetero.files.temporary import remove_whatever
from libhetero.pipelines.analysing.findings import PATH, STATES, Findings
from libhetero.pipelines.embedding.particles import PARTICLE_CLASSES
from libhetero.pipelines.evaluate import EvaluateConfig, evaluated
from libhetero.pipelines.run.folder import Run

LOGGER = logging.getLogger(__name__)
MOST_CLASSES = 24  # whose volumes are written unasked
KINDS = r"(consensus|classes|states|path|pc_[0-9]+)"  # what follows the name of an analysis in those of its volumes


def own_volumes(run_folder: Path, name: str) -> list[Path]:
    """Return the folders of the volumes that an analysis has written.

    Parameters
    ----------
    run_folder : of the run.
    name : of the analysis.
    """
    own = re.compile(f"{re.escape(name)}_{KINDS}")
    return sorted(one for one in (run_folder / "volumes").glob("*") if own.fullmatch(one.name))


def write_volumes(run: Run, config: Any, found: Findings | None, kept: Path, progress: Callable[[float], None]) -> None:
    """Write the volumes, each kind as an evaluation of its own in RUN/volumes.

    Parameters
    ----------
    run : to decode.
    config : `libhetero.pipelines.analyze.AnalyzeConfig`.
    found : of the latents; None where these have no numbers, for the one volume there is.
    kept : folder of the analysis, by whose name its volumes are called.
    progress : called with the fraction done.
    """
    asked = list(_evaluations(run, config, found, kept))
    for old in own_volumes(run.folder, kept.name):
        if old.name not in {one.name for one in asked}:
            remove_whatever(old)
    for number, one in enumerate(asked):
        evaluated(run, one)
        progress((number + 1) / len(asked))


def _evaluations(run: Run, config: Any, found: Findings | None, kept: Path) -> Iterator[EvaluateConfig]:
    """Yield what to evaluate."""
    common = {"batch_size": config.batch_size, "seed": config.seed}
    folder = str(run.folder)
    if found is None:
        yield EvaluateConfig(folder, particles=(0,), name=f"{kept.name}_consensus", **common)
        return
    table = str(found.kept / PARTICLE_CLASSES)
    if 1 <= found.classes <= MOST_CLASSES:
        yield EvaluateConfig(folder, classes=table, name=f"{kept.name}_classes", **common)
    elif found.classes > MOST_CLASSES:
        LOGGER.info(
            "%d classes: their volumes are not written unasked; e2hype_eval.py %s --classes %s writes them",
            found.classes,
            folder,
            table,
        )
    for component in range(1, min(config.components, len(found.explained)) + 1):
        yield EvaluateConfig(
            folder, component=component, steps=config.steps, name=f"{kept.name}_pc_{component}", **common
        )
    for file in (STATES, PATH):
        path = kept / file
        if found.density is not None and len(found.density.states) > 1 and path.exists():
            yield EvaluateConfig(folder, latent=str(path), name=f"{kept.name}_{path.stem}", **common)
