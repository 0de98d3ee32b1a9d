"""RUN/analyses/NAME/index.html: figures of the latents, with sentences.

That of the latest analysis is RUN/analysis/index.html, too, and of a run without Gaussians RUN/index.html.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.pipelines.analysing.findings import COLUMNS, COMPONENTS, DENSITY, FOLDER, Findings, convergence
from libhetero.pipelines.analysing.volumes import own_volumes
from libhetero.pipelines.decoding.evaluation_folder import RECORD, earlier
from libhetero.pipelines.decoding.gaussians import has_mixtures
from libhetero.pipelines.decoding.results_page import ALL_RESULTS, RESULTS
from libhetero.pipelines.run.epoch_folder import run_and_epoch
from libhetero.pipelines.run.folder import Run
from libhetero.report.latent import legend_of_states
from libhetero.report.page import Cell, Link, Page, Section
from libhetero.training.log import read_log

PAGE, LOG = "index.html", "log.jsonl"
HEADER = ("volumes", "how many", "figure", "table", "ChimeraX")
FILES = ("volumes.png", "volumes.txt", "volumes.cxc")
OF_TRAINING = (
    ("loss.png", "The signal explained, the loss and the learning rate over the epochs."),
    ("samples.png", "Particles, always the same ones, beside the model's projections of them and what is left over."),
)
EVIDENCE = "How far each image speaks for the model against noise alone, and the contrast of the particles."


def lines_of(run: Run, found: Findings | None) -> list[str]:
    """Return what was found, a sentence each."""
    model, images = run.model, "" if run.particles.group is None else f" in {len(run.particles)} images"
    lines = [
        f"{run.particles.distinct} particles{images}, box {model.box_size}, {model.pixel_size:.4g} Å per pixel, family "
        f"{run.config.family}.",
        *(run.reached.facts() if run.reached is not None else []),
    ]
    log = run_and_epoch(run.folder)[0] / LOG
    told = convergence(read_log(log)) if log.exists() else ""
    lines += [told] if told else []
    if found is None:
        return [*lines, "Nothing was found to change: the particles have one volume."]
    parts = ", ".join(f"{100 * part:.1f} %" for part in found.explained)
    lines.append(f"The first principal components of the latents hold {parts} of their variance.")
    lines.append(
        "The particles are not told apart into classes by their latents."
        if found.classes < 2
        else f"The particles are told apart into {found.classes} classes by their latents."
    )
    if found.density is not None:
        lines.append(legend_of_states(found.density.share))
    worst = [(number, found.followed.worst(number)) for number in range(found.followed.share.shape[1])]
    followers = [f"component {number + 1} follows the {one[0]} (R² {one[1]:.2f})" for number, one in worst if one]
    if followers:
        lines.append(f"Beware: {'; '.join(followers)}. What changes in the molecule does not follow how it was imaged.")
    else:
        lines.append("None of the components follows how the particles were imaged.")
    return lines


def write_pages(run: Run, found: Findings | None, lines: Sequence[str], kept: Path) -> Path:
    """Write the page into RUN/analyses/NAME and RUN/analysis, and into RUN of a run that segmentation makes none of.

    Returns the last of these. The first shows what the analysis has written itself, the others all volumes of the run.

    Parameters
    ----------
    run : the run.
    found : of its latents; None where they have no numbers, of which nothing is kept.
    lines : what was found, in words.
    kept : RUN/analyses/NAME.
    """
    own = [] if found is None else own_volumes(run.folder, kept.name)
    if found is not None:
        _write(run, found, lines, kept, kept, own)
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    every = [record.parent for record in sorted((run.folder / "volumes").glob(f"*/{RECORD}"))]
    others = [one for one in every if one not in own]
    page = _write(run, found, lines, folder, folder, own, others)
    return page if has_mixtures(run) else _write(run, found, lines, run.folder, folder, own, others)


def _write(
    run: Run,
    found: Findings | None,
    lines: Sequence[str],
    folder: Path,
    analysis: Path,
    volumes: Sequence[Path],
    others: Sequence[Path] = (),
) -> Path:
    """Write the page into a folder, its links from there.

    Parameters
    ----------
    analysis : folder of its figures.
    volumes : folders of evaluations to show, those of the analysis; the figures of all but the first are folded.
    others : further ones, folded.
    """

    def link(text: str, path: Path) -> Link:
        return Link(text, Path(os.path.relpath(path, folder)).as_posix())

    def section(
        title: str, shown: Sequence[tuple[Path, str]], rows: Sequence[list[Cell]] = (), *, folded: bool = False
    ) -> Section:
        figures = [link(text, path) for path, text in shown if path.exists()]
        return Section(title, figures, HEADER if rows else (), rows, folded)

    def drawn(folders: Sequence[Path]) -> list[tuple[Path, str]]:
        return [(where / "volumes.png", f"Volumes of {where.name}.") for where in folders]

    def listed(folders: Sequence[Path]) -> list[list[Cell]]:
        return [
            [where.name, str(len(earlier(where).volumes)), *([link(name, where / name)] for name in FILES)]
            for where in folders
        ]

    whole, epoch = run_and_epoch(run.folder)
    latest = "" if epoch is None else " This figure is of the whole run, as of its last checkpoint."
    regions = run.folder / PAGE
    more: list[list[Cell]] = []
    if has_mixtures(run) and regions.exists():
        more.append(["regions of Gaussians", "", [link("page", regions)], "", ""])
    sections = [
        *([] if found is None else [section(title, shown) for title, shown in _of_latents(run, found, analysis)]),
        section("Volumes", drawn(volumes[:1]), [*listed(volumes), *more]),
        *(section(f"Volumes of {one.name}", drawn([one]), folded=True) for one in volumes[1:]),
        section("Other volumes of this run", drawn(others), listed(others), folded=True),
        section("Training", [(whole / name, text + latest) for name, text in OF_TRAINING], folded=True),
        section("Evidence and contrast of each particle", [(run.folder / "evidence.png", EVIDENCE)], folded=True),
    ]
    name = shlex.quote(str(run.folder))
    page = Page(
        title=f"Analysis of {run.folder.name}{'' if analysis == run.folder / FOLDER else f', {analysis.name}'}",
        facts=lines,
        header=(),
        rows=(),
        figures=(),
        commands=_commands(name, found),
        see=[link(ALL_RESULTS, run.folder / RESULTS)],
        sections=[one for one in sections if one.figures or one.rows],
    )
    return page.write(folder / PAGE)


def _of_latents(run: Run, found: Findings, analysis: Path) -> list[tuple[str, list[tuple[Path, str]]]]:
    """Return the titles of the sections on the latents, with figures and their captions."""
    return [
        (
            "Plane and classes",
            [
                (
                    found.kept / "embed_particles.png",
                    "The particles in a plane by their latents, by density and by class.",
                )
            ],
        ),
        ("Density and states", [(analysis / DENSITY, _density_caption(run, found))]),
        (
            "Principal components",
            [(analysis / COMPONENTS, "The particles along pairs of principal components of their latents.")],
        ),
        (
            "What the latents follow",
            [(analysis / COLUMNS, "The same plane, coloured by what is known of each particle.")],
        ),
    ]


def _density_caption(run: Run, found: Findings) -> str:
    """Return the caption of the density."""
    if found.density is None:
        return ""
    known = (run.folder / "mid_00_sd.txt").exists()
    how = "with the width of each particle's own uncertainty taken off" if known else "a kernel estimate"
    states = legend_of_states(found.density.share)
    flat = (
        " States are numbered by their share, not as classes are. Classes are of all numbers of the latents; those "
        "that differ in further components alone lie on top of each other here."
        if len(found.explained) > 2
        else ""
    )
    return f"The density of particles in the plane of the first two components, {how}. {states}{flat}"


def _commands(name: str, found: Findings | None) -> list[tuple[str, str]]:
    """Return the commands that go on from here."""
    commands = [("volumes of single particles", f"e2hype_eval.py {name} --particles 0,5,9")]
    if found is not None and found.classes > 1:
        kept = shlex.quote(str(found.kept))
        first = int(np.unique(found.label[found.label >= 0])[0])
        commands.append(
            (
                "maps of the classes from the images alone, beside the network's volumes",
                f"e2hype_make3d.py {name} {name}/maps --classes {kept}/classes_particles.txt",
            )
        )
        commands.append(("train on the particles of one class", f"e2hype_refine.py {kept}/class_{first:02d}.lst"))
    return commands
