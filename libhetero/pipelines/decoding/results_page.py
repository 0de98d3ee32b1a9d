"""RUN/results.html: all that was made of a run: embeddings, segmentations, analyses, evaluations.

It is written anew by each call that adds one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from libhetero.pipelines.decoding.evaluation_folder import RECORD as EVALUATION
from libhetero.pipelines.decoding.evaluation_folder import asked_in_words, earlier
from libhetero.pipelines.run.kept import ANALYSES, EMBEDDINGS, KINDS, SEGMENTATIONS, all_kept
from libhetero.report.page import Cell, Link, Page

RESULTS = "results.html"
ALL_RESULTS = "All embeddings, segmentations, analyses and evaluations of this run"
HEADER = ("what", "name", "asked for", "files")
SHOWN = {  # of a folder, those that a reader opens first
    EMBEDDINGS.folder: ("embed_*.png", "embed_*.txt", "classes_particles.txt"),
    SEGMENTATIONS.folder: ("index.html", "regions.png", "regions.json", "regions.cxc"),
    ANALYSES.folder: ("index.html", "density.png", "states.txt", "path.txt"),
    "volumes": ("volumes.png", "volumes.txt", "volumes.cxc", "classes.txt"),
}
FACTS = (
    "Each call of e2hype_embed.py, e2hype_segment.py, e2hype_analyze.py and e2hype_eval.py has a folder of its own, "
    "which no call that asks for other things changes. The latest embedding and the latest segmentation lie in the run "
    "folder as well, where other programs read them unless --embedding NAME or --segmentation NAME says otherwise, and "
    "the latest analysis in RUN/analysis.",
)
MOST_LINKS = 12  # of maps that have no folder of their own
FLAT = "*.mrc", "*.hdf"  # maps in RUN/volumes itself
OF_REGIONS = "region_"  # the names of those that segmentation writes there


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
            asked_in_words(earlier(record.parent).options, run_folder),
            _links(run_folder, record.parent),
        ]
    yield from _flat(run_folder / "volumes")


def _flat(volumes: Path) -> Iterator[list[Cell]]:
    """Yield what lies in RUN/volumes itself: of the latest segmentation, or of a version that had no folders there."""
    maps = sorted(path for pattern in FLAT for path in volumes.glob(pattern) if not path.name.startswith("."))
    of_regions = [path for path in maps if path.name.startswith(OF_REGIONS)]
    others = [path for path in maps if not path.name.startswith(OF_REGIONS)]
    for what, paths, said in (
        ("maps of regions", of_regions, "differences of the latest segmentation"),
        (
            "volumes of an older version",
            others,
            "not known: written before evaluations had folders of their own, and perhaps before the run was trained "
            "further; what they show is written anew by e2hype_eval.py, and they may be removed",
        ),
    ):
        if paths:
            shown = [Link(path.name, f"volumes/{path.name}") for path in paths[:MOST_LINKS]]
            more = len(paths) - len(shown)
            yield [what, "", said, [*shown, *([Link(f"and {more} more", "volumes")] if more else [])]]


def _pages(run_folder: Path) -> Iterator[list[Cell]]:
    """Yield the pages that other programs have made of the run."""
    for name, what, said in (
        ("analysis", "the latest analysis", "that of the analyses below which was made last"),
        ("validation", "validation", f"e2hype_validate.py {run_folder}"),
    ):
        page = run_folder / name / "index.html"
        if page.is_file():
            yield [what, "", said, [Link(page.name, f"{name}/{page.name}")]]


def _links(run_folder: Path, folder: Path) -> list[Link]:
    found = [path for pattern in SHOWN[folder.parent.name] for path in sorted(folder.glob(pattern))]
    return [Link(path.name, path.relative_to(run_folder).as_posix()) for path in found]
