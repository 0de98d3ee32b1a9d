"""The usual questions of a trained run by one command: what varies, which states there are, what they look like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as
from libhetero.pipelines.embed import EmbedConfig
from libhetero.pipelines.segment import folder_name
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
    name: str | None = option(
        None,
        "--name",
        metavar="NAME",
        check=folder_name,
        help="of the folder in RUN/analyses that keeps what is found, of its embedding, and before the names of its "
        "volumes; those of that name are replaced",
        shown_default="analysis, with the options that were given",
    )
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
    folder : that keeps it, whatever is found next; None where there was nothing to keep.
    """

    page: Path
    lines: list[str]
    folder: Path | None


def run(config: AnalyzeConfig, progress: Callable[[float], None] | None = None) -> AnalyzeResult:
    """Embed and sort the particles of a run, find states in the density of their latents, and write volumes and a page.

    Parameters
    ----------
    config : what to look at.
    progress : called with the fraction done.

    Raises
    ------
    StoppedEarly : the system or the user asked to stop; the line says what is written by then.
    UserError : one line on what is wrong with the folder or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.analysing import findings
    from libhetero.pipelines.decoding.results_page import write_results_page
    from libhetero.pipelines.run import kept
    from libhetero.pipelines.run.folder import open_run

    advance: Callable[[float], None] = progress or (lambda fraction: None)
    trained = open_run(config.folder)
    columns = findings.columns_of(trained, config.columns)  # names are checked before anything long
    options = kept.options_of(config, None if trained.reached is None else trained.reached.step)
    with kept.claimed_folder(trained.folder, kept.ANALYSES, config.name, described(config), options) as folder:
        result = _analysed(trained, config, columns, folder, options, advance)
    write_results_page(trained.folder)
    advance(1.0)
    return result


def described(config: AnalyzeConfig) -> str:
    """Return a name for an analysis, such as analysis or analysis_classes_8."""
    parts = ["analysis"]
    parts += [config.method] if config.method != AnalyzeConfig.method else []
    parts += [f"classes_{config.classes}"] if config.classes != AnalyzeConfig.classes else []
    return "_".join(parts)


def _analysed(
    trained: Any,
    config: AnalyzeConfig,
    columns: dict[str, Any],
    folder: Path,
    options: dict[str, Any],
    advance: Callable[[float], None],
) -> AnalyzeResult:
    """Analyse an open run, and keep what is found in a folder."""
    from libhetero.files import replacing_set
    from libhetero.pipelines.analysing import findings, page, volumes
    from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
    from libhetero.pipelines.run import kept
    from libhetero.telling.stopping import stopped_early

    with timed(LOGGER, "1/4 latents of all particles"):
        latent = particle_latents(trained, config.batch_size, lambda done: advance(0.3 * done))
    if shows_nothing(trained):
        found = None
        LOGGER.warning("%s: nothing was found to change in training: its particles are one state.", trained.folder)
    else:
        with timed(LOGGER, "2/4 plane and classes"):
            plane = _embedded(trained, config)
        command = kept.command_of(kept.ANALYSES, trained.folder, config)
        with (
            stopped_early(lambda: _written(trained, "its plane and classes are written")),
            timed(LOGGER, "3/4 density, states and figures"),
            replacing_set(trained.folder),
        ):
            found = findings.write_findings(trained, latent, plane, columns, config.seed, config.components)
            kept.keep(trained.folder / findings.FOLDER, folder, kept.ANALYSES.patterns, options, command)
    advance(0.6)
    done = "its plane, classes, density and states are written, volumes and the page are missing"
    with stopped_early(lambda: _written(trained, done)), timed(LOGGER, "4/4 volumes"):
        if not config.no_volumes:
            volumes.write_volumes(trained, config, found, folder, lambda done: advance(0.6 + 0.4 * done))
    with replacing_set(trained.folder):
        lines = page.lines_of(trained, found)
        written = page.write_pages(trained, found, lines, folder)
    return AnalyzeResult(written, lines, None if found is None else folder)


def _written(trained: Any, done: str) -> str:
    """Return what is kept of an analysis that was left, and how to go on."""
    return f"{trained.folder}: {done}. The same command begins anew."


def _embedded(trained: Any, config: AnalyzeConfig) -> Any:
    """Embed and sort the particles of an open run as e2hype_embed.py does; return what it wrote."""
    from libhetero.pipelines import embed

    asked = EmbedConfig(
        config.folder,
        method=config.method,
        classes=config.classes,
        lists=True,
        seed=config.seed,
        name=config.name,
        batch_size=config.batch_size,
    )
    return embed.embedded(trained, asked)
