"""Do several runs say the same of the same particles? Classes, latents, regions and volumes, pair by pair."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as
from libhetero.errors import ConfigurationError
from libhetero.pipelines.evaluate import EvaluateConfig
from libhetero.pipelines.segment import SegmentConfig, folder_name
from libhetero.pipelines.validate import ValidateConfig
from libhetero.telling.stages import timed

LOGGER = logging.getLogger(__name__)
FIRST_NAMED = 3  # runs that the default name of the folder has


@dataclass(frozen=True)
class CompareConfig:
    """Which runs, and what of them."""

    runs: tuple[str, ...] = option(
        positional="RUN", count="+", help="run folders, two or more, such as hype_00 pt_00; or hype_00/epoch_05"
    )
    path: str | None = option(
        None,
        "--path",
        metavar="FOLDER",
        help="folder to make",
        shown_default="named by the runs, such as compare_hype_00_pt_00",
    )
    embedding: str | None = same_as(
        EvaluateConfig, "embedding", group="", help="whose classes are compared, by its name in each run's embeddings"
    )
    segmentation: str | None = same_as(
        ValidateConfig, "segmentation", help="whose regions are compared, by its name in each run's segmentations"
    )
    volumes: str | None = option(
        None,
        "--volumes",
        metavar="NAME",
        check=folder_name,
        exclusive="volumes",
        help="which volumes are matched, by the name of the evaluation in each run's volumes",
        shown_default="those of the classes that are compared, or else the newest of classes",
    )
    no_volumes: bool = option(False, "--novolumes", exclusive="volumes", help="match no volumes")
    seed: int = same_as(ValidateConfig, "seed", help="of folds, of particles drawn and of chance")
    batch_size: int = same_as(SegmentConfig, "batch_size", group="")

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.runs) < 2:
            raise ConfigurationError(
                f"{self.runs[0] if self.runs else 'no run'}: one run alone; expected two or more to compare. Name the "
                "others after it."
            )
        folders = [Path(run).resolve() for run in self.runs]
        for place, folder in enumerate(folders):
            if folder in folders[:place]:
                raise ConfigurationError(f"{self.runs[place]}: named twice; expected different runs. Leave one out.")

    def folder(self) -> Path:
        """Return where the comparison goes.

        Raises
        ------
        ConfigurationError : if something is there, or no folder can be made there.
        """
        folder = Path(self.path if self.path is not None else _name_of(self.runs))
        if os.path.lexists(folder):
            raise ConfigurationError(
                f"{folder}: exists already; expected the name of a new folder. Choose another one with --path, or "
                "remove it."
            )
        above = next(one for one in folder.parents if os.path.lexists(one))
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"{folder}: {above} is no folder in which you may write; expected one. Choose another name with --path."
            )
        return folder


def _name_of(runs: Sequence[str]) -> str:
    """Return the name of the folder of some runs: compare_hype_00_pt_00."""
    names = [re.sub(r"[^\w.-]", "_", Path(run).resolve().name) for run in runs]
    more = f"_and_{len(names) - FIRST_NAMED}_more" if len(names) > FIRST_NAMED else ""
    return f"compare_{'_'.join(names[:FIRST_NAMED])}{more}"


@dataclass(frozen=True, eq=False)
class CompareResult:
    """What was found and written.

    Parameters
    ----------
    found : a `libhetero.pipelines.comparing.record.Comparison`.
    verdicts : of each pair of runs, in a line.
    page, table, record : index.html, comparison.txt and comparison.json.
    """

    found: Any
    verdicts: list[str]
    page: Path
    table: Path
    record: Path


def run(config: CompareConfig, progress: Callable[[float], None] | None = None) -> CompareResult:
    """Compare runs and write a folder with figures, a table and a page.

    Parameters
    ----------
    config : which runs.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with a run or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.comparing import files, pairs, subjects

    advance: Callable[[float], None] = progress or (lambda fraction: None)
    folder = config.folder()  # refused before anything is read
    opened = subjects.open_subjects(config)
    shared = pairs.shared_particles(opened)
    with timed(LOGGER, "latents of all runs"):
        for number, subject in enumerate(opened):
            opened[number] = subject.with_latents(config.batch_size)
            advance(0.4 * (number + 1) / len(opened))
    with timed(LOGGER, "comparison"):
        found, curves = pairs.compare_all(opened, shared, config.seed, lambda done: advance(0.4 + 0.5 * done))
    page, table, record = files.write_comparison(folder, found, curves, subjects.pixel_size_of(opened))
    advance(1.0)
    return CompareResult(found, [one.verdict for one in found.pairs], page, table, record)
