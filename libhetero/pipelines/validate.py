"""Is what a run found there? Half-sets, null sets, and how particles were imaged; a verdict for each region."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as
from libhetero.configuration.limits import MOST_BATCH, MOST_SEED
from libhetero.pipelines.evaluate import EvaluateConfig
from libhetero.pipelines.segment import SegmentConfig

LOGGER = logging.getLogger(__name__)
NULLS = 20
MOST_NULLS = 10_000


@dataclass(frozen=True)
class ValidateConfig:
    """What to validate, and how thoroughly."""

    run: str = option(positional="RUN", help="run folder that is finished, such as hype_00")
    nulls: int | None = option(
        None,
        "--nulls",
        metavar="N",
        least=0,
        most=MOST_NULLS,
        help="sets to search in which nothing changes; 19 or more tell 1 in 20; 0 for none",
        shown_default=f"{NULLS} for Gaussians",
    )
    skip_halves: bool = option(
        False, "--skip_halves", help="train no half-sets, for a quick look; regions stay doubtful without them"
    )
    batch_size: int = option(
        64, "--batchsz", metavar="N", least=1, most=MOST_BATCH, help="particles encoded or decoded at once"
    )
    memory: float = same_as(SegmentConfig, "memory", group="")
    seed: int = option(0, "--seed", metavar="N", least=0, most=MOST_SEED, help="of null sets, folds and permutations")
    embedding: str | None = same_as(EvaluateConfig, "embedding", group="", help="whose classes are taken, by its name")
    segmentation: str | None = option(
        None,
        "--segmentation",
        metavar="NAME",
        help="whose regions are validated, by its name in RUN/segmentations",
        shown_default="the latest",
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class ValidateResult:
    """What was found and written.

    Parameters
    ----------
    found : a `libhetero.pipelines.validating.record.Validation`.
    lines : the same in words.
    page, record : index.html and validation.json.
    """

    found: Any
    lines: list[str]
    page: Path
    record: Path


def run(config: ValidateConfig, progress: Callable[[float], None] | None = None) -> ValidateResult:
    """Validate a run and write RUN/validation.

    Parameters
    ----------
    config : what, and how thoroughly.
    progress : called with the fraction done.

    Raises
    ------
    StoppedEarly : the system or the user asked to stop; the same command goes on.
    UserError : one line on what is wrong with the folder or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.files import replacing_set
    from libhetero.pipelines.decoding.results_page import write_results_page
    from libhetero.pipelines.run.folder import open_run
    from libhetero.pipelines.validating.examination import Examination, finished, kept_so_far
    from libhetero.pipelines.validating.page import summary, write_page
    from libhetero.pipelines.validating.record import FOLDER, rounded, write_validation
    from libhetero.telling.stopping import stopped_early

    trained = open_run(finished(config.run)).reading(config.embedding, config.segmentation)
    folder = trained.folder / FOLDER
    with stopped_early(lambda: kept_so_far(folder)):
        tests = Examination.of(trained, config)
        for line in tests.budget():
            LOGGER.info("%s", line)
        found = rounded(tests.validation(progress or (lambda fraction: None)))
        folder.mkdir(exist_ok=True)
        lines = summary(found)
        with replacing_set(folder):
            figures = tests.draw(folder, found)
            record = write_validation(folder, found)
            page = write_page(folder, found, lines, figures)
        write_results_page(trained.folder)
    return ValidateResult(found, lines, page, record)
