"""The folder of a comparison: comparison.json, a table for people, figures, and the page that shows all."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.configuration import to_dict, write_json
from libhetero.files import replacing, writing
from libhetero.pipelines.comparing.pairs import HALF
from libhetero.pipelines.comparing.record import AGREE, FILE, PARTLY, Comparison, PairRecord
from libhetero.pipelines.decoding.results_page import RESULTS
from libhetero.pipelines.maps.curves import read_off
from libhetero.report.comparison import draw_correlations, draw_cross_table, draw_matrices
from libhetero.report.fsc import draw_fsc_panels
from libhetero.report.page import Cell, Link, Page

PAGE, TABLE, MATRIX = "index.html", "comparison.txt", "all_pairs.png"
HEADER = ("runs", "particles of both", "classes: ARI, AMI", "latents", "neighbours", "regions: ARI", "volumes, FSC 0.5")
MOST_CURVES = 24  # of matched volumes in a figure


def write_comparison(folder: Path, found: Comparison, curves: Any, pixel_size: float) -> tuple[Path, Path, Path]:
    """Write all into a new folder, which is there once it is whole; return page, table and record.

    Parameters
    ----------
    folder : to make, with those above it.
    found : of all pairs.
    curves : FSCs of matched volumes, by pair and by their names.
    pixel_size : of the volumes, Å.

    Raises
    ------
    DiskError : if it cannot be made; nothing is left of it then.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as beside:
        beside.mkdir()
        _write(beside, folder, found, curves, pixel_size)
    return folder / PAGE, folder / TABLE, folder / FILE


def _write(folder: Path, final: Path, found: Comparison, curves: Any, pixel_size: float) -> None:
    """Write all into a folder that will be `final`, which the page names."""
    figures: list[Link] = []
    shown = short_names(found.runs)
    if len(found.runs) > 2:
        panels = matrices(found)
        if panels:
            draw_matrices(folder / MATRIX, panels, shown)
            figures.append(Link(_matrix_caption(), MATRIX))
    numbers = list(combinations(range(len(found.runs)), 2))
    for (first, second), pair in zip(numbers, found.pairs, strict=True):
        names = (shown[first], shown[second])
        figures += _figures(folder, f"{first + 1}_{second + 1}", pair, names, curves[first, second], pixel_size)
    write_json(folder / FILE, to_dict(found))
    with replacing(folder / TABLE) as beside:
        beside.write_text("\n".join([*table_of(found), ""]), encoding="utf-8")
    volumes = zip(found.runs, found.volumes, strict=True)
    facts = [
        *(pair.verdict for pair in found.pairs),
        f"Runs are said to agree where the adjusted Rand indices (ARI) of classes and of regions, and the larger R² of "
        f"one latent by the other, are all {AGREE:g} or more, and not to agree where all are below {PARTLY:g}. "
        "Where both have one class, or no region, that does not count.",
        *dict.fromkeys(line for pair in found.pairs for line in pair.left_out),
        *(f"The volumes of {run} are those of {place}." for run, place in volumes if place),
    ]
    page = Page(
        title=f"Comparison of {', '.join(Path(run).name for run in found.runs)}",
        facts=facts,
        header=HEADER,
        rows=[_row(pair) for pair in found.pairs],
        figures=figures,
        commands=[("all figures of this page as JSON", f"cat {shlex.quote(str(final / FILE))}")],
        see=[*_pages(final, found.runs), Link("The same as a table of text", TABLE)],
    )
    page.write(folder / PAGE)


def _pages(folder: Path, runs: Sequence[str]) -> Iterator[Link]:
    """Yield links to the pages of the runs, where they have one."""
    for run in runs:
        path = next((Path(run) / name for name in (PAGE, RESULTS) if (Path(run) / name).is_file()), None)
        if path is not None:
            yield Link(f"The page of {run}", Path(os.path.relpath(path, folder)).as_posix())


def short_names(runs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the runs' folders alone, where they tell the runs apart."""
    names = tuple(Path(run).name for run in runs)
    return names if len(set(names)) == len(names) and all(names) else tuple(runs)


def _figures(
    folder: Path, number: str, pair: PairRecord, names: tuple[str, str], curves: Any, pixel_size: float
) -> Iterator[Link]:
    """Draw the figures of a pair; yield them with captions."""
    one, other = names
    classes, latents = pair.classes, pair.latents
    if classes is not None:
        name = f"classes_{number}.png"
        draw_cross_table(folder / name, np.array(classes.table), classes.names, names)
        yield Link(
            f"How many of the {classes.particles} particles are in each class of {one} (rows) and of {other} "
            f"(columns). Shades say which part of the row's class that is. Classes that are matched one to one stand "
            f"first, in order, so that runs that agree have their particles on the diagonal; "
            f"{100 * classes.in_matched:.1f} % are there.",
            name,
        )
    if latents is not None and latents.canonical:
        name = f"latents_{number}.png"
        draw_correlations(folder / name, latents.canonical, latents.chance)
        yield Link(
            f"Canonical correlations of the latents of {one} and of {other}, on particles that did not choose the "
            f"directions. Grey bars are no higher than chance: where the latents are dealt out anew among the "
            f"{latents.particles} particles, the best of as many numbers stays below the dashed line 19 times of 20.",
            name,
        )
    if curves:
        name = f"volumes_{number}.png"
        shown = {of: read_off(fsc, HALF, pixel_size) for of, fsc in list(curves.items())[:MOST_CURVES]}
        draw_fsc_panels(folder / name, {"matched volumes": shown}, pixel_size)
        more = f" The first {MOST_CURVES} of {len(curves)} are drawn." if len(curves) > MOST_CURVES else ""
        yield Link(
            f"Fourier shell correlation of each volume of {one} with the volume of {other} that it is matched to, in "
            f"a soft sphere. Both are without the noise of images, so that they are read at 0.5.{more}",
            name,
        )


def matrices(found: Comparison) -> dict[str, np.ndarray]:
    """Return what all pairs have in common, a symmetric matrix for each measure that some pair has."""
    values: dict[str, list[float]] = {"classes: ARI": [], "latents: R²": [], "neighbours": [], "regions: ARI": []}
    for pair in found.pairs:
        latents = pair.latents
        for name, value in zip(
            values,
            (
                pair.classes.ari if pair.classes is not None and pair.classes.tells else None,
                None if latents is None else max(latents.predicted),
                None if latents is None else latents.neighbours,
                pair.regions.ari if pair.regions is not None and pair.regions.tells else None,
            ),
            strict=True,
        ):
            values[name].append(np.nan if value is None else value)
    panels = {}
    rows, columns = np.triu_indices(len(found.runs), 1)
    for name, each in values.items():
        if np.isfinite(each).any():
            panels[name] = np.full((len(found.runs),) * 2, np.nan)
            panels[name][rows, columns] = panels[name][columns, rows] = each
    return panels


def _matrix_caption() -> str:
    return (
        "What each two runs have in common, 0 where it is no more than by chance and 1 where they are the same: the "
        "adjusted Rand index of their classes, the larger R² of one latent by the other, the part of the ten nearest "
        "neighbours in the latents that are the same, and the adjusted Rand index of their regions. Empty fields "
        "were left out."
    )


def _row(pair: PairRecord) -> list[Cell]:
    latents = pair.latents
    return [
        f"{pair.runs[0]} and {pair.runs[1]}",
        str(pair.shared),
        _classes(pair),
        _latents(pair),
        "left out" if latents is None else f"{latents.neighbours:.2f} (chance {latents.neighbours_chance:.3f})",
        _regions(pair),
        _volumes(pair),
    ]


def _classes(pair: PairRecord) -> str:
    if pair.classes is None:
        return "left out"
    return f"{pair.classes.ari:.3f}, {pair.classes.ami:.3f}" if pair.classes.tells else "one class in both"


def _regions(pair: PairRecord) -> str:
    if pair.regions is None:
        return "left out"
    return f"{pair.regions.ari:.3f}" if pair.regions.tells else "none in both"


def _latents(pair: PairRecord) -> str:
    latents = pair.latents
    if latents is None:
        return "left out"
    best = ", ".join(f"{one:.2f}" for one in latents.canonical[:4]) or "none"
    return (
        f"correlations {best} (chance {latents.chance:.2f}; {latents.beyond_chance} of {len(latents.canonical)} beyond "
        f"it); R² {latents.predicted[0]:.2f} and {latents.predicted[1]:.2f}"
    )


def _volumes(pair: PairRecord) -> str:
    if not pair.volumes:
        return "left out"
    reached = [one.resolution for one in pair.volumes]
    return f"{len(reached)} matched, {min(reached):.3g} to {max(reached):.3g} Å"


def table_of(found: Comparison) -> list[str]:
    """Return everything as lines of text."""
    lines = ["Runs"]
    for run, family, count, place in zip(found.runs, found.families, found.particles, found.volumes, strict=True):
        lines.append(f"  {run}: {count} particles, family {family}" + (f", volumes of {place}" if place else ""))
    for pair in found.pairs:
        lines += ["", pair.verdict, *_lines(pair)]
    return lines


def _lines(pair: PairRecord) -> Iterator[str]:
    classes, latents, regions = pair.classes, pair.latents, pair.regions
    if classes is not None:
        yield (
            f"  classes of {classes.particles} particles: ARI {classes.ari:.4f}, AMI {classes.ami:.4f}, "
            f"{100 * classes.in_matched:.1f} % in matched classes (matched: "
            f"{', '.join(f'{one} = {other}' for one, other in classes.matched)})"
        )
        yield "    " + " ".join(["class", *(f"{one:>7}" for one in classes.names[1])])
        for name, row in zip(classes.names[0], classes.table, strict=True):
            yield "    " + " ".join([f"{name:>5}", *(f"{one:>7}" for one in row)])
    if latents is not None:
        yield (
            f"  latents of {latents.numbers[0]} and {latents.numbers[1]} numbers, {latents.particles} particles: "
            f"canonical correlations {' '.join(f'{one:.3f}' for one in latents.canonical) or 'none'}; chance "
            f"{latents.chance:.3f}; R² {latents.predicted[0]:.3f} and {latents.predicted[1]:.3f}"
        )
        yield f"  nearest neighbours that are shared: {latents.neighbours:.3f}; chance {latents.neighbours_chance:.4f}"
    if regions is not None:
        yield (
            f"  regions, {regions.regions[0]} and {regions.regions[1]}, of {regions.gaussians[0]} and "
            f"{regions.gaussians[1]} Gaussians at {regions.distance:.2f} Å from each other (median; "
            f"{100 * regions.paired[0]:.0f} and {100 * regions.paired[1]:.0f} % have a partner): ARI {regions.ari:.4f}"
        )
        for one, other, iou in regions.matched:
            matched = f"region {other}, IoU {iou:.2f}" if other > 0 else "none"
            yield f"    region {one}: {matched}"
    for match in pair.volumes:
        shell = " (the last shell)" if match.to_the_last_shell else ""
        others = "" if match.runner_up is None else f"; {match.runner_up:.3f} with the most similar other"
        yield (
            f"  volumes {match.names[0]} = {match.names[1]}: FSC 0.5 at {match.resolution:.3g} Å{shell}, area "
            f"{match.area:.3f}{others}"
        )
    yield from (f"  {line}" for line in pair.left_out)
