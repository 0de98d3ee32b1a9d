"""The usual questions of a trained run by one command: what varies, which states there are, what they look like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as
from libhetero.pipelines.embed import EmbedConfig
from libhetero.telling.stages import timed

LOGGER = logging.getLogger(__name__)
MOST_COMPONENTS = 10


def _names(text: str) -> tuple[str, ...]:
    """Return the names of a,b,c."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class AnalyzeConfig:
    """What to look at."""

    folder: str = option(positional="RUN", help="run folder, such as hype_00")
    classes: int | str = same_as(EmbedConfig, "classes", "auto", group="", shown_default=None)
    components: int = option(
        2,
        "--components",
        metavar="N",
        least=0,
        most=MOST_COMPONENTS,
        help="principal components of the latents along which volumes are written",
    )
    steps: int = option(4, "--steps", metavar="N", least=1, most=100, help="of volumes along each component")
    columns: tuple[str, ...] = option(
        (),
        "--columns",
        metavar="A,B",
        parse=_names,
        help="further columns of the particles' .star or .cs to colour the plane by, such as rlnDefocusU",
        shown_default="none",
    )
    method: str = same_as(EmbedConfig, "method", group="")
    no_volumes: bool = option(False, "--novolumes", help="write no volumes, for a quick look")
    seed: int = same_as(EmbedConfig, "seed", group="")
    batch_size: int = same_as(EmbedConfig, "batch_size", group="")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class AnalyzeResult:
    """What was written.

    Parameters
    ----------
    page : shows all of it.
    lines : what was found, in words.
    """

    page: Path
    lines: list[str]


def run(config: AnalyzeConfig, progress: Callable[[float], None] | None = None) -> AnalyzeResult:
    """Embed and sort the particles of a run, find states in the density of their latents, and write volumes and a page.

    Parameters
    ----------
    config : what to look at.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.files import replacing_set
    from libhetero.pipelines.analysing import findings, page, volumes
    from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
    from libhetero.pipelines.decoding.results_page import write_results_page
    from libhetero.pipelines.run.folder import open_run

    advance: Callable[[float], None] = progress or (lambda fraction: None)
    trained = open_run(config.folder)
    columns = findings.columns_of(trained, config.columns)  # names are checked before anything long
    with timed(LOGGER, "1/4 latents of all particles"):
        latent = particle_latents(trained, config.batch_size, lambda done: advance(0.3 * done))
    if shows_nothing(trained):
        found = None
        LOGGER.warning("%s: nothing was found to change in training: its particles are one state.", trained.folder)
    else:
        with timed(LOGGER, "2/4 plane and classes"):
            plane = _embedded(trained, config)
        with timed(LOGGER, "3/4 density, states and figures"), replacing_set(trained.folder):
            found = findings.write_findings(trained, latent, plane, columns, config.seed, config.components)
    advance(0.6)
    with timed(LOGGER, "4/4 volumes"):
        if not config.no_volumes:
            volumes.write_volumes(trained, config, found, lambda done: advance(0.6 + 0.4 * done))
    with replacing_set(trained.folder):
        lines = page.lines_of(trained, found)
        written = page.write_pages(trained, found, lines)
    write_results_page(trained.folder)
    advance(1.0)
    return AnalyzeResult(written, lines)


def _embedded(trained: Any, config: AnalyzeConfig) -> Any:
    """Embed and sort the particles of an open run as e2hype_embed.py does; return what it wrote."""
    from libhetero.pipelines import embed

    asked = EmbedConfig(
        config.folder,
        method=config.method,
        classes=config.classes,
        lists=True,
        seed=config.seed,
        batch_size=config.batch_size,
    )
    return embed.embedded(trained, asked)
