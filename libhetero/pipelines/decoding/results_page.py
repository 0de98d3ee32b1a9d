"""RUN/results.html: all embeddings, segmentations and evaluations of a run, written anew by each call that adds one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from libhetero.pipelines.decoding.evaluation_folder import RECORD as EVALUATION
from libhetero.pipelines.decoding.evaluation_folder import asked_in_words, earlier
from libhetero.pipelines.run.kept import EMBEDDINGS, KINDS, SEGMENTATIONS, all_kept
from libhetero.report.page import Cell, Link, Page

RESULTS = "results.html"
ALL_RESULTS = "All embeddings, segmentations and evaluations of this run"
HEADER = ("what", "name", "asked for", "files")
SHOWN = {  # of a folder, those that a reader opens first
    EMBEDDINGS.folder: ("embed_*.png", "embed_*.txt", "classes_particles.txt"),
    SEGMENTATIONS.folder: ("index.html", "regions.png", "regions.json", "regions.cxc"),
    "volumes": ("volumes.png", "volumes.txt", "volumes.cxc"),
}
FACTS = (
    "Each call of e2hype_embed.py, e2hype_segment.py and e2hype_eval.py has a folder of its own, which no call that "
    "asks for other things changes. The latest embedding and the latest segmentation lie in the run folder as well, "
    "where other programs read them unless --embedding NAME or --segmentation NAME says otherwise.",
)


def write_results_page(run_folder: Path) -> Path:
    """Write the page of all results of a run, or of an epoch of it; return its path."""
    name = shlex.quote(str(run_folder))
    page = Page(
        title=f"Results of {run_folder.name}",
        facts=FACTS,
        header=HEADER,
        rows=list(_rows(run_folder)),
        figures=[],
        commands=[
            ("another embedding, with classes", f"e2hype_embed.py {name} --classes auto --name NAME"),
            (
                "volumes of the classes of one of them",
                f"e2hype_eval.py {name} --classes {name}/{EMBEDDINGS.folder}/NAME/classes_particles.txt",
            ),
        ],
    )
    return page.write(run_folder / RESULTS)


def _rows(run_folder: Path) -> Iterator[list[Cell]]:
    yield from _pages(run_folder)
    for kind in KINDS:
        for folder, made in all_kept(run_folder, kind):
            yield [kind.word, folder.name, made.command or "not known", _links(run_folder, folder)]
    for record in sorted((run_folder / "volumes").glob(f"*/{EVALUATION}")):
        yield [
            "evaluation",
            record.parent.name,
            asked_in_words(earlier(record.parent).options),
            _links(run_folder, record.parent),
        ]


def _pages(run_folder: Path) -> Iterator[list[Cell]]:
    """Yield the pages that other programs have made of the run."""
    for name, program in (("analysis", "e2hype_analyze.py"), ("validation", "e2hype_validate.py")):
        page = run_folder / name / "index.html"
        if page.is_file():
            yield [name, "", f"{program} {run_folder}", [Link(page.name, f"{name}/{page.name}")]]


def _links(run_folder: Path, folder: Path) -> list[Link]:
    found = [path for pattern in SHOWN[folder.parent.name] for path in sorted(folder.glob(pattern))]
    return [Link(path.name, path.relative_to(run_folder).as_posix()) for path in found]
