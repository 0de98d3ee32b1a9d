"""Two runs beside each other: which particles both have, and how far latents, classes and regions agree.

The same figures as e2hype_compare.py's, of what the runs' files hold; nothing is encoded or decoded anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.dashboard import volumes
from libhetero.dashboard.columns import Columns, embeddings_of
from libhetero.dashboard.refusals import missing, wrong
from libhetero.dashboard.regions import CORE, gaussians_of
from libhetero.dashboard.runs import ServedRun
from libhetero.errors import UserError
from libhetero.pipelines.comparing.pairs import (
    class_agreement,
    counted_once,
    latent_agreement,
    region_agreement,
    volume_agreement,
)
from libhetero.pipelines.comparing.record import verdict_of
from libhetero.pipelines.comparing.subjects import (
    Regioned,
    best_evaluation,
    check_grids,
    evaluations_of_classes,
    grid_of,
    maps_of,
)
from libhetero.pipelines.listing.identity import ONE_LIST, Images, image_numbers, places_in

SEED = 0
CURVES = ("loss", "signal", "test_loss", "test_signal")


def matched_rows(first: ServedRun, second: ServedRun) -> Int[np.ndarray, "particles"]:
    """Return the row of the second run that each particle of the first is in; -1 for none.

    Raises
    ------
    UserError : if a run does not tell which particles it has, or has one several times.
    """
    records = [first.record, second.record]
    if None in records:
        raise missing("a run that does not tell which particles it has: particles.npz and ptcls_00.lst are gone")
    numbers = image_numbers([Images(one.names, one.file_id, one.image_index) for one in records])
    return places_in(numbers[0], numbers[1], (first.name, second.name), ONE_LIST)


def comparison(columns: tuple[Columns, Columns]) -> dict[str, Any]:
    """Return how far two runs agree; what one of them has not is None, and why in `left_out`.

    Parameters
    ----------
    columns : of the two runs.

    Raises
    ------
    UserError : if they share no particle, or do not tell which they have.
    """
    first, second = (one.run for one in columns)
    if first is second:
        raise wrong("runs: twice the same; expected two different ones")
    place = matched_rows(first, second)
    here = np.flatnonzero(place >= 0)
    if not len(here):
        raise wrong(f"{first.name} and {second.name} share no particle")
    here, there = counted_once((here, place[here]), (first.record.group, second.record.group))
    left_out: list[str] = []
    one, other = (_latents(each, left_out) for each in columns)
    latents = None
    if one is not None and other is not None:
        latents = latent_agreement(one[here], other[there], SEED)
    classes, names = None, []
    found = [_classes(each, left_out) for each in columns]
    if found[0] is not None and found[1] is not None:
        names = [found[0][0], found[1][0]]
        classes = class_agreement(found[0][1][here], found[1][1][there])
    regions = _regions(first, second, left_out)
    shown = _volumes((first, second), [None if one is None else one[2] for one in found], left_out)
    matches = () if shown is None else shown.matches
    verdict = verdict_of((first.name, second.name), len(here), classes, latents, regions, matches)
    told = {
        name: None if value is None else dataclasses.asdict(value)
        for name, value in (("latents", latents), ("classes", classes), ("regions", regions))
    }
    return told | {
        "runs": [first.number, second.number],
        "names": [first.name, second.name],
        "matched": len(here),
        "canonical": [] if latents is None else list(latents.canonical),
        "embeddings": names,
        "volumes": None if shown is None else shown.described(),
        "left_out": left_out,
        "verdict": verdict,
        "loss": [curves(run) for run in (first, second)],
        "url": f"/api/compare/rows?runs={first.number},{second.number}",
    }


def _latents(columns: Columns, left_out: list[str]) -> Float[np.ndarray, "particles latent"] | None:
    found = columns.latents()
    if found is None or found.shape[1] == 0:
        left_out.append(f"latents: {columns.run.name} has none yet")
        return None
    return np.nan_to_num(np.asarray(found, np.float64))


def _classes(columns: Columns, left_out: list[str]) -> tuple[str, Int[np.ndarray, "particles"], Path] | None:
    """Return the classes of the newest embedding that has some, by its name, and their table."""
    tables = [
        (folder / "classes_particles.txt", name)
        for name, folder in embeddings_of(columns.run)
        if (folder / "classes_particles.txt").is_file()
    ]
    if not tables:
        left_out.append(f"classes: {columns.run.name} has none; e2hype_embed.py {columns.run.folder} --classes auto")
        return None
    table, name = max(tables, key=lambda one: one[0].stat().st_mtime)
    return name, columns.values(f"{name}/class").astype(np.int64), table


@dataclass(frozen=True, eq=False)
class MatchedVolumes:
    """Volumes of classes of two runs, one to one.

    Parameters
    ----------
    sets : name of either run's volumes.
    series : what the page is told of each volume of either run, by its name.
    matches : a `libhetero.pipelines.comparing.record.VolumeMatch` for each pair.
    """

    sets: tuple[str, str]
    series: tuple[dict[str, Any], dict[str, Any]]
    matches: tuple[Any, ...]

    def described(self) -> dict[str, Any]:
        """Return what the page is told: of each match its figures, and both volumes as `series_of` tells them."""
        stems = [[Path(name).stem for name in one.names] for one in self.matches]
        return {
            "sets": list(self.sets),
            "matches": [
                dataclasses.asdict(one)
                | {"shown": [part.get(stem) for part, stem in zip(self.series, pair, strict=True)]}
                for one, pair in zip(self.matches, stems, strict=True)
            ],
        }


def _volumes(
    runs: tuple[ServedRun, ServedRun], tables: Sequence[Path | None], left_out: list[str]
) -> MatchedVolumes | None:
    """Return which volumes of classes match by their FSC, as e2hype_compare.py matches them; None without them.

    Parameters
    ----------
    tables : of the classes of either run; None where it has none.
    """
    folders = []
    for run, table in zip(runs, tables, strict=True):
        there = [one for one in evaluations_of_classes(run.folder / "volumes") if run.holds(one)]
        current = [one for one in there if volumes.is_current(run, one.name)]
        if not current:
            which = "has those of an earlier step alone" if there else "has none of classes"
            left_out.append(f"volumes: {run.name} {which}; e2hype_analyze.py {run.folder} makes them")
            continue
        folders.append(best_evaluation(current, table))
    if len(folders) < 2:
        return None
    try:
        maps = (maps_of(folders[0]), maps_of(folders[1]))
        if not all(run.holds(path) for run, paths in zip(runs, maps, strict=True) for path in paths):
            raise missing("a map that leads out of the run folder")
        grids = (grid_of(maps[0][0]), grid_of(maps[1][0]))
        check_grids((maps[0][0], maps[1][0]), grids, str(runs[1].folder))
        key = ("volumes matched", maps)
        matches, _ = runs[0].kept.get(key, [*maps[0], *maps[1]], lambda: volume_agreement(*maps, grids[0]))
        series = [
            {one["label"]: one for one in volumes.series_of(run, folder.name)["series"]}
            for run, folder in zip(runs, folders, strict=True)
        ]
    except UserError as error:
        left_out.append(f"volumes: {error}")
        return None
    return MatchedVolumes((folders[0].name, folders[1].name), (series[0], series[1]), matches)


def _regions(first: ServedRun, second: ServedRun, left_out: list[str]) -> Any:
    found = []
    for run in (first, second):
        try:
            gaussians = gaussians_of(run, None)
        except UserError as error:
            left_out.append(f"regions: {error}")
            continue
        label = gaussians[:, 8].astype(np.int64)
        if label.max(initial=CORE) == CORE:
            left_out.append(f"regions: {run.name} has none; e2hype_segment.py {run.folder}")
        found.append(Regioned(gaussians[:, :3].astype(np.float64), label))
    return region_agreement(found[0], found[1]) if len(found) == 2 else None


def curves(run: ServedRun) -> dict[str, list[float | None]]:
    """Return the course of training: epochs, and what of `CURVES` the log has at each, None where it has not."""
    lines, _ = run.lines()
    told: dict[str, list[float | None]] = {"epoch": [line["epoch"] for line in lines]}
    for name in CURVES:
        values = [line.get(name) for line in lines]
        if any(value is not None for value in values):
            told[name] = values
    return told
