"""index.html of a segmented run: what was found, where its files are, and how to go on."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.files import in_the_set
from libhetero.pipelines.decoding.results_page import ALL_RESULTS, RESULTS
from libhetero.pipelines.listing.writing import LIST_ENDINGS
from libhetero.pipelines.regions.account import kinds_of, shown_p_value
from libhetero.pipelines.regions.evidence import Judged
from libhetero.pipelines.regions.mixtures import ClassMixtures
from libhetero.pipelines.regions.record import KindRecord, RegionRecord
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians
from libhetero.report.page import Cell, Link, Page

HEADER = (
    "region",
    "Gaussians",
    "mass",
    "changes by",
    "change over the particles (of noise alone)",
    "p-value",
    "half-sets agree (0 to 1)",
    "particles of each class",
    "masks",
    "classes, embedding",
    "particle lists",
    "Gaussians of classes",
    "difference maps",
)

CAPTIONS = {
    "regions": "The regions over the outline of the map, from three sides; what lies deeper is paler.",
    "regions_embedding": "The Gaussians that change, near to each other where they change alike in the same particles; "
    "this plane was clustered.",
    "regions_eps": "How many clusters and regions there are for every eps, the distance within which two Gaussians of "
    "the plane are neighbours.",
    "regions_presence": "How much of each region the particles have, or how far it is moved in them.",
}


def write_region_page(
    run: Run,
    neutral: Gaussians,
    judged: Judged,
    mixtures: Sequence[ClassMixtures],
    facts: Sequence[str],
    figures: Sequence[Path],
    written: dict[int, list[Path]],
    kept: Path,
) -> Path:
    """Write index.html into the run folder, and into the folder that keeps the segmentation; return the former.

    Parameters
    ----------
    run : its folder is named in the commands as the user names it.
    neutral : all Gaussians, for the share of mass.
    judged : the regions, with what speaks for each.
    mixtures : of the classes of each region.
    facts : lines at the top.
    figures : PNG files, in order.
    written : files of `write_class_mixtures`.
    kept : folder of this segmentation, which the commands name.
    """
    folder, regions = run.folder, judged.regions
    mass = np.maximum(np.asarray(neutral.amplitude, np.float64), 0)
    by_region = {item.region: item for item in mixtures}
    rows: list[list[Cell]] = []
    for region in (*range(regions.count + 1), -1):
        members = regions.members(region)
        if len(members):
            share = f"{100 * mass[members].sum() / mass.sum():.1f}%"
            links = _links(folder, region, by_region.get(region), written)
            evidence = _evidence(judged.found[region - 1]) if region > 0 else ["", "", "", ""]
            rows.append([_name(region), str(len(members)), share, *evidence, *links])
    page = Page(
        title=f"Regions of {folder.name}",
        facts=facts,
        header=HEADER,
        rows=rows + dropped_rows(judged.dropped),
        figures=[Link(_caption(path.stem), _relative(path, folder)) for path in figures],
        commands=_commands(folder, kept, mixtures, " --noctf" if run.config.data.no_ctf else ""),
    )
    return _write(page, folder, kept)


def _write(page: Page, folder: Path, kept: Path) -> Path:
    """Write the page of a segmentation into the run folder and into its own; return the former."""
    kept.mkdir(parents=True, exist_ok=True)
    for place in (kept, folder):
        link = Link(ALL_RESULTS, Path(os.path.relpath(folder / RESULTS, place)).as_posix())
        dataclasses.replace(page, see=[link]).write(place / "index.html")
    return folder / "index.html"


def write_page_of_nothing(run: Run, facts: Sequence[str], dropped: Sequence[RegionRecord], kept: Path) -> Path:
    """Write the index.html of a run in which no region changes, and return its path.

    Parameters
    ----------
    facts : lines at the top.
    dropped : regions for which the particles do not speak.
    kept : folder of this segmentation.
    """
    name = shlex.quote(str(run.folder))
    page = Page(
        title=f"Regions of {run.folder.name}",
        facts=facts,
        header=HEADER,
        rows=dropped_rows(dropped),
        figures=[],
        commands=[("the one structure of all particles", f"e2hype_eval.py {name} --particles 0")],
    )
    return _write(page, run.folder, kept)


def dropped_rows(dropped: Sequence[RegionRecord]) -> list[list[Cell]]:
    """Return the rows of a table for regions without evidence."""
    left = len(HEADER) - 3 - len(HEADER[3:7])
    return [["dropped", str(one.gaussians), f"{100 * one.mass:.1f}%", *_evidence(one), *[""] * left] for one in dropped]


def _evidence(record: RegionRecord) -> list[Cell]:
    changes = "; ".join(_change(getattr(record, one)) for one in kinds_of(record.kind))
    return [record.kind, changes, _in_one_line(shown_p_value(record.p_value)), f"{record.agreement:.2f}"]


def _in_one_line(text: str) -> str:
    """Return a text with a hyphen and spaces at which no line ends."""
    return text.replace("-", "\u2011").replace(" ", "\u00a0")


def _change(record: KindRecord) -> str:
    """Return a change and, in brackets, the one that noise alone gives."""
    unit = " Å" if record.unit == "Å" else ""
    return f"{record.change:.2f}{unit} ({record.null:.2f})"


def _caption(stem: str) -> str:
    """Return in a sentence what a figure shows."""
    if stem in CAPTIONS:
        return CAPTIONS[stem]
    return (
        f"{stem.replace('_', ' ').capitalize()}: its particles, how much of it they have or how far it is moved in "
        "them, and what its Gaussians do from the first class to the last (of a continuum, from the lowest to the "
        "highest fifth)."
    )


def _name(region: int) -> str:
    return {0: "0, constant core", -1: "in no region"}.get(region, str(region))


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _links(folder: Path, region: int, mixtures: ClassMixtures | None, written: dict[int, list[Path]]) -> list[Cell]:
    """Return the cells from the classes on, within the set in which the files are; those of the core hold its mask."""
    stem = f"region_{region:02d}"
    masks = [Link(suffix, f"masks/{stem}.{suffix}") for suffix in ("mrc", "hdf")]
    if mixtures is None:
        return ["", masks if region == 0 else "", "", "", "", ""]
    sizes, lists = "continuous", []
    tables = [Link("embedding", f"embed_{stem}.txt")]
    if not mixtures.continuous:
        sizes = ", ".join(str(count) for count in mixtures.count)
        there = in_the_set(folder)  # of images in .hdf stacks there is no .star, and only of a .cs a .cs
        lists = [
            Link(f"{name} {ending}", f"{stem}_{name}{ending}")
            for name in mixtures.name
            for ending in LIST_ENDINGS
            if Path(f"{stem}_{name}{ending}") in there
        ]
        tables.insert(0, Link("classes", f"classes_{stem}.txt"))
    files = {suffix: [path for path in written[region] if path.suffix == suffix] for suffix in (".txt", ".mrc")}
    texts, maps = (
        [Link(_shown(path.stem.removeprefix(f"{stem}_")), _relative(path, folder)) for path in group]
        for group in files.values()
    )
    return [sizes, masks, tables, lists, texts, maps or "one class"]


def _shown(name: str) -> str:
    """Return the name of a file as a link shows it: class_01_minus_00 is class_01 − 00."""
    return name.replace("_minus_", " − ")


def _commands(folder: Path, kept: Path, mixtures: Sequence[ClassMixtures], option: str) -> list[tuple[str, str]]:
    """Return the commands that open all in ChimeraX, and reconstruct and decode the classes."""
    whole, name = shlex.quote(str(folder)), shlex.quote(str(kept))
    commands = [("map, masks and Gaussians by region", f"chimerax {name}/regions.cxc")]
    for item in mixtures:
        if item.continuous:
            continue
        stem = f"{name}/region_{item.region:02d}_class_"
        maps = "\n".join(
            f"e2hype_make3d.py {stem}{label:02d}.lst {stem}{label:02d}.mrc{option}" for label in item.label
        )
        commands.append((f"region {item.region}: a map from the particles of each class", maps))
        commands.append(
            (
                f"region {item.region}: the decoded volume of each class",
                f"e2hype_eval.py {whole} --classes {name}/classes_region_{item.region:02d}.txt "
                f"--name {kept.name}_region_{item.region:02d}",
            )
        )
    return commands
