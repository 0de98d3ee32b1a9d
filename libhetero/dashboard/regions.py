"""The regions of a run's Gaussians: what was found, and what a user makes of it by hand."""

from __future__ import annotations

import dataclasses
import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.configuration import write_json
from libhetero.dashboard.columns import segmentations_of
from libhetero.dashboard.refusals import missing, wrong
from libhetero.dashboard.runs import NAME, ServedRun
from libhetero.errors import UserError
from libhetero.files import alone_in
from libhetero.io import read_gaussians, write_gaussians
from libhetero.io.tables import read_numbers
from libhetero.pipelines.regions.record import read_record
from libhetero.pipelines.validating.record import FILE, FOLDER, read_validation
from libhetero.records import Gaussians

COLUMNS = ("x", "y", "z", "amplitude", "sigma", "change", "plane1", "plane2", "label")
UNITS = ("Å", "Å", "Å", "", "Å", "", "", "", "")
CORE, UNASSIGNED, MOST_REGIONS = 0, -1, 500
TABLE, CHANGES, START = "regions.txt", "regions_changes.txt", "model_00.txt"
EDITED = re.compile(r"regions_([0-9]{2,})\.txt")


@dataclass(frozen=True)
class EditedRegions:
    """`regions_NN.json`, beside `regions_NN.txt`: how regions were changed by hand.

    Parameters
    ----------
    name : of the segmentation that the command makes of them.
    based_on : segmentation that they were before.
    names : of regions, by number.
    constant : numbers of those that were set constant, in the segmentation that they were before.
    edits : what was done, in order, in words.
    gaussians : of each region, by number.
    written : when.
    command : that sorts the particles by these regions.
    """

    name: str
    based_on: str = ""
    names: dict[str, str] = field(default_factory=dict)
    constant: tuple[int, ...] = ()
    edits: tuple[str, ...] = ()
    gaussians: dict[str, int] = field(default_factory=dict)
    written: str = ""
    command: str = ""


def folder_of(run: ServedRun, name: str | None) -> Path | None:
    """Return the folder of a segmentation by name; that of the latest without one, None where there is none.

    Raises
    ------
    Refusal : for a name that there is not.
    """
    known = dict(segmentations_of(run))
    if not name:
        there = (run.folder / TABLE).is_file() or (run.folder / "regions.json").is_file()
        return run.folder if there else None
    if name not in known:
        raise missing(f"{run.name} has no segmentation {name[:60]}; expected one of {', '.join(known) or 'none yet'}")
    return known[name]


def gaussians_of(run: ServedRun, name: str | None) -> Float[np.ndarray, "gaussians columns"]:
    """Return the Gaussians of a run with what is known of each: the columns are `COLUMNS`; NaN where nothing is.

    Parameters
    ----------
    name : of the segmentation; None for the latest. Without one, those that the run began with, all of the core.

    Raises
    ------
    Refusal : of a run without Gaussians.
    """
    folder, grid = folder_of(run, name), run.grid()
    path = run.folder / START if folder is None else folder / TABLE
    if not path.is_file():  # as where no region was found
        path = run.folder / START
    if grid is None or not path.is_file() or not run.holds(path) or run.config.family != "gmm":
        raise missing(f"{run.name} has no Gaussians")
    found, label = _with_labels(path, grid)
    columns = np.full((len(label), len(COLUMNS)), np.nan, np.float32)
    columns[:, :3], columns[:, 3], columns[:, 4] = found.position, found.amplitude, found.sigma
    columns[:, 8] = label
    for place in (folder, run.folder):
        if place is not None and run.holds(place / CHANGES) and _add_changes(columns, place / CHANGES):
            return columns
    _add_plane(columns, run)
    return columns


def _with_labels(path: Path, grid: tuple[int, float]) -> tuple[Gaussians, Int[np.ndarray, "gaussians"]]:
    found = read_gaussians(path, *grid)
    table = read_numbers(path, "Gaussians, x y z amp sigma and region", least=5)
    label = table[:, 5].astype(np.int64) if table.shape[1] > 5 else np.zeros(len(table), np.int64)
    return found, label


def _add_changes(columns: Float[np.ndarray, "gaussians columns"], path: Path) -> bool:
    """Add how Gaussians change, and their places in the plane, where a file tells; return whether it does."""
    if not path.is_file():
        return False
    table = read_numbers(path, "Gaussian, change, x and y", least=2, most=4, whole=(0,))
    index = table[:, 0].astype(np.int64)
    if index.min() < 0 or index.max() >= len(columns):
        return False
    columns[index, 5 : 4 + table.shape[1]] = table[:, 1:]
    seen = (columns[:, 6:8] != 0).any(axis=1)
    columns[~seen, 6:8] = np.nan
    return True


def _add_plane(columns: Float[np.ndarray, "gaussians columns"], run: ServedRun) -> None:
    """Add the places of Gaussians in the plane that e2hype_embed.py --gaussians has made, where it has."""
    path = run.folder / "embed_gaussians.txt"
    if path.is_file() and run.holds(path):
        table = read_numbers(path, "Gaussian, x and y", least=3, most=3, whole=(0,))
        index = table[:, 0].astype(np.int64)
        if index.min() >= 0 and index.max() < len(columns):
            columns[index, 6:8] = table[:, 1:]


def described(run: ServedRun, name: str | None) -> list[dict[str, Any]]:
    """Return each region of a segmentation with what speaks for it, and what validation says.

    Raises
    ------
    UserError : for a name that there is not, or a record that is damaged.
    """
    folder = folder_of(run, name)
    record = None if folder is None else read_record(folder)
    if record is None or folder is None:
        return []
    verdicts = _verdicts(run, folder)
    told = []
    for one in record.regions:
        number = one.region
        own = dataclasses.asdict(one) | {"number": number, "name": f"region {number}", "p": one.p_value}
        own["validation"] = verdicts.get(number)
        own["states"] = _states(run, folder, number)
        own["mask"] = _url_if(run, folder / "masks" / f"region_{number:02d}.mrc")
        own["coordinates"] = (folder / f"embed_region_{number:02d}.txt").is_file()
        told.append(own)
    return told


def _verdicts(run: ServedRun, folder: Path) -> dict[int, dict[str, Any]]:
    """Return what validation found of each region; nothing where it was of other regions, by their time."""
    path = run.folder / FOLDER / FILE
    if not path.is_file() or path.stat().st_mtime < (folder / "regions.json").stat().st_mtime:
        return {}
    try:
        found = read_validation(run.folder)
    except UserError:
        return {}
    return {one.region: dataclasses.asdict(one) for one in found.regions}


def _states(run: ServedRun, folder: Path, number: int) -> list[dict[str, Any]]:
    """Return the mean mixtures of a region's classes, or of the ends of its continuum, in order."""
    names = sorted(folder.glob(f"volumes/region_{number:02d}_class_*.txt"))
    names += [folder / "volumes" / f"region_{number:02d}_{end}.txt" for end in ("low", "high")]
    stem = f"region_{number:02d}_"
    return [
        {"label": path.stem.removeprefix(stem), "url": str(_url_if(run, path, "mixture"))}
        for path in names
        if path.is_file()
    ]


def _url_if(run: ServedRun, path: Path, what: str = "file") -> str | None:
    from urllib.parse import quote

    if not path.is_file():
        return None
    return f"/api/runs/{run.number}/{what}?path={quote(str(path.relative_to(run.folder)))}"


def save(run: ServedRun, body: dict[str, Any]) -> dict[str, Any]:
    """Write regions that were changed by hand as the next regions_NN.txt; return its path, and what goes on from it.

    Parameters
    ----------
    body : labels (a region for each Gaussian; 0 the core, -1 none), name (of the segmentation to make), and, to be told
        later, names, constant, based_on and edits.

    Raises
    ------
    UserError : for labels that are none, or of other Gaussians.
    """
    based_on = body.get("based_on") or body.get("segmentation")
    if based_on is not None and not isinstance(based_on, str):
        raise wrong("based_on: expected the name of a segmentation")
    columns = gaussians_of(run, based_on)
    name = body.get("name")
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise wrong("name: expected letters, digits, _, - and .")
    label, numbers = _labels(body.get("labels"), len(columns), body.get("constant", []))
    gaussians = Gaussians(columns[:, :3], columns[:, 3], columns[:, 4])
    grid = run.grid()
    if grid is None:
        raise missing(f"{run.name} has no model yet")
    with alone_in(run.folder):  # so that two who save at once get two numbers
        taken = [int(found[1]) for one in run.folder.iterdir() if (found := EDITED.fullmatch(one.name))]
        path = run.folder / f"regions_{max(taken, default=0) + 1:02d}.txt"
        words = ["e2hype_segment.py", str(run.folder), "--regions", str(path), "--name", name]
        along = ["e2hype_eval.py", str(run.folder), "--regions", str(path), "--name", name]
        made = _record(body, name, based_on or "", label, numbers, shlex.join(words))
        write_json(path.with_suffix(".json"), dataclasses.asdict(made))
        write_gaussians(path, gaussians, *grid, group=label)
    told = {"path": path.name, "command": made.command, "words": words, "regions": int(max(label.max(), 0))}
    return told | {"volumes": shlex.join(along)}


def _labels(value: Any, count: int, constant: Any) -> tuple[Int[np.ndarray, "gaussians"], dict[int, int]]:
    """Return regions numbered from 1 without gaps, in their order, and the number of each by that of the page.

    Those set constant are of the core, and have no number.
    """
    try:
        label = np.array(value)
    except ValueError:
        label = np.zeros(0)
    if label.shape != (count,) or label.dtype.kind not in "iu":
        raise wrong(f"labels: expected {count} whole numbers, a region for each Gaussian")
    if label.min() < UNASSIGNED or label.max() > MOST_REGIONS:
        raise wrong(f"labels: expected {UNASSIGNED} (none), {CORE} (the core) and 1 to {MOST_REGIONS}")
    if not isinstance(constant, list) or not all(isinstance(one, int) for one in constant):
        raise wrong("constant: expected numbers of regions")
    label = np.where(np.isin(label, [one for one in constant if one > 0]), CORE, label).astype(np.int64)
    left = np.unique(label[label > 0])
    if not len(left):
        raise wrong("labels: no region is left; expected one or more")
    numbers = {number: place for place, number in enumerate(left.tolist(), start=1)}
    return np.where(label > 0, 1 + np.searchsorted(left, label), label).astype(np.int64), numbers


def _record(
    body: dict[str, Any], name: str, based_on: str, label: np.ndarray, numbers: dict[int, int], command: str
) -> EditedRegions:
    """Return what is told of regions, by their numbers in the file; names of those that are gone are left out,
    and those that are numbers alone.

    Parameters
    ----------
    label : of each Gaussian, in the file.
    numbers : in the file, by those of the page.
    """
    names, edits = body.get("names", {}), body.get("edits", [])
    if not isinstance(names, dict) or not isinstance(edits, list) or len(names) > MOST_REGIONS or len(edits) > 10_000:
        raise wrong("names: expected an object, edits: a list")
    counts = {str(number): int((label == number).sum()) for number in np.unique(label).tolist()}
    return EditedRegions(
        name,
        based_on,
        {
            str(number): str(names[str(old)])[:200]
            for old, number in numbers.items()
            if names.get(str(old), f"region {old}") != f"region {old}"
        },
        tuple(int(one) for one in body.get("constant", [])),
        tuple(str(edit)[:500] for edit in edits),
        counts,
        time.strftime("%Y-%m-%d %H:%M:%S"),
        command,
    )
