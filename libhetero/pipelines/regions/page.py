"""index.html of a segmented run: what was found, where its files are, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.analysis.regions import Regions
from libhetero.files import replacing
from libhetero.pipelines.regions.mixtures import ClassMixtures
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians
from libhetero.report.page import Cell, Link, Page

HEADER = (
    "region",
    "Gaussians",
    "mass",
    "particles of each class",
    "masks",
    "classes, embedding",
    "particle lists",
    "Gaussians of classes",
    "difference maps",
)


def write_region_page(
    run: Run,
    neutral: Gaussians,
    regions: Regions,
    mixtures: Sequence[ClassMixtures],
    facts: Sequence[str],
    figures: Sequence[Path],
    written: dict[int, list[Path]],
) -> Path:
    """Write index.html into the run folder and return its path.

    Parameters
    ----------
    run : its folder is named in the commands as the user names it.
    neutral : all Gaussians, for the share of mass.
    regions : of the Gaussians.
    mixtures : of the classes of each region.
    facts : lines at the top.
    figures : PNG files, in order.
    written : files of `write_class_mixtures`.
    """
    folder = run.folder
    mass = np.maximum(np.asarray(neutral.amplitude, np.float64), 0)
    by_region = {item.region: item for item in mixtures}
    rows: list[list[Cell]] = []
    for region in (*range(regions.count + 1), -1):
        members = regions.members(region)
        if len(members):
            share = f"{100 * mass[members].sum() / mass.sum():.1f}%"
            rows.append(
                [_name(region), str(len(members)), share, *_links(folder, region, by_region.get(region), written)]
            )
    page = Page(
        title=f"Regions of {folder.name}",
        facts=facts,
        header=HEADER,
        rows=rows,
        figures=[Link(path.stem.replace("_", " "), _relative(path, folder)) for path in figures],
        commands=_commands(folder, mixtures, " --noctf" if run.config.data.no_ctf else ""),
    )
    path = folder / "index.html"
    with replacing(path) as beside:
        Path(beside).write_text(page.html(), encoding="utf-8")
    return path


def _name(region: int) -> str:
    return {0: "0, constant core", -1: "in no region"}.get(region, str(region))


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _links(folder: Path, region: int, mixtures: ClassMixtures | None, written: dict[int, list[Path]]) -> list[Cell]:
    """Return the cells from the classes on; those of the core hold its mask alone."""
    stem = f"region_{region:02d}"
    masks = [Link(suffix, f"masks/{stem}.{suffix}") for suffix in ("mrc", "hdf")]
    if mixtures is None:
        return ["", masks if region == 0 else "", "", "", "", ""]
    sizes = ", ".join(str(count) for count in mixtures.count)
    lists = [
        Link(f"class {label:02d} .{suffix}", f"{stem}_class_{label:02d}.{suffix}")
        for label in mixtures.label
        for suffix in ("lst", "star")
    ]
    tables = [Link("classes", f"classes_{stem}.txt"), Link("embedding", f"embed_{stem}.txt")]
    files = {suffix: [path for path in written[region] if path.suffix == suffix] for suffix in (".txt", ".mrc")}
    texts, maps = (
        [Link(path.stem.removeprefix(f"{stem}_"), _relative(path, folder)) for path in group]
        for group in files.values()
    )
    return [sizes, masks, tables, lists, texts, maps or "one class"]


def _commands(folder: Path, mixtures: Sequence[ClassMixtures], option: str) -> list[tuple[str, str]]:
    """Return the commands that open all in ChimeraX, and reconstruct and decode the classes."""
    name = shlex.quote(str(folder))
    commands = [("map, masks and Gaussians by region", f"chimerax {name}/regions.cxc")]
    for item in mixtures:
        stem = f"{name}/region_{item.region:02d}_class_"
        maps = "\n".join(
            f"e2hype_make3d.py {stem}{label:02d}.lst {stem}{label:02d}.mrc{option}" for label in item.label
        )
        commands.append((f"region {item.region}: a map from the particles of each class", maps))
        commands.append(
            (
                f"region {item.region}: the decoded volume of each class",
                f"e2hype_eval.py {name} --classes {name}/classes_region_{item.region:02d}.txt "
                f"--output {name}/volumes/region_{item.region:02d}",
            )
        )
    return commands
