"""Volumes on demand: of particles, latent points, classes and paths, by e2hype_eval.py, and those that are there.

What is asked for without a name is kept under one that follows from it, so that asking again costs nothing while the
run's parameters are the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float

from libhetero.dashboard.columns import Columns, embeddings_of, segmentations_of
from libhetero.dashboard.refusals import missing, wrong
from libhetero.dashboard.runs import NAME, ServedRun
from libhetero.dashboard.workers import trained
from libhetero.files import replacing
from libhetero.io import read_gaussians, write_latent
from libhetero.pipelines.decoding.evaluation_folder import STEP, earlier, file_digest
from libhetero.pipelines.evaluate import EvaluateConfig
from libhetero.training.checkpoint import last_step

MOST = 100  # volumes at a time
RECORD, SCRIPT, TABLE = "evaluation.json", "volumes.cxc", "volumes.txt"
LEVEL = re.compile(r"surface level ([-+0-9.eE]+)")
WHOLE = re.compile(r"-?[0-9]{1,10}")
MAPS = (".mrc", ".hdf")


@dataclass(frozen=True)
class Wanted:
    """Volumes that are asked for.

    Parameters
    ----------
    name : of their folder in RUN/volumes.
    title : for people.
    words : the command.
    named : whether the user gave the name, and what is there under it is replaced.
    """

    name: str
    title: str
    words: tuple[str, ...]
    named: bool


def wanted(run: ServedRun, columns: Columns, body: Mapping[str, Any]) -> Wanted:
    """Return the command for volumes that are asked for, and write the points that it reads.

    Parameters
    ----------
    body : {"points": [[…], …]}, {"rows": […]}, {"class": {"embedding": NAME, "number": K}} (or {"segmentation": NAME,
        "region": N, "number": K}; without a number, all classes), or {"path": {"points" or "rows": […], "steps": N}};
        and, if wanted, "name", "box" (voxels) and "lowpass" (Å).

    Raises
    ------
    Refusal : for what is none of these.
    """
    kinds = [kind for kind in ("points", "rows", "class", "path") if kind in body]
    if len(kinds) != 1:
        raise wrong("expected one of points, rows, class and path")

    asked = {key: body[key] for key in (*kinds, "box", "lowpass") if body.get(key) is not None}
    if kinds == ["class"]:  # other classes under the same name are other volumes
        asked["table"] = file_digest(_table_of(run, body["class"])[0])
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]
    named, name = body.get("name"), f"{kinds[0]}_{digest}"
    if named is not None and (not isinstance(named, str) or NAME.fullmatch(named) is None):
        raise wrong(f"name: {str(named)[:60]!r}; expected letters, digits, _, - and .")
    made = {"points": _points, "rows": _rows, "class": _classes, "path": _path}[kinds[0]]
    title, words = made(run, columns, body[kinds[0]], digest)
    grid = [*_flag("--box", body.get("box"), 7, 1024), *_flag("--lowpass", body.get("lowpass"), 0, 1e6)]
    size = None if body.get("box") is None else int(body["box"])
    EvaluateConfig(str(run.folder), particles=(0,), box_size=size, lowpass=body.get("lowpass"))  # refuses what it would
    own = str(named or name)
    run.own_folder("volumes", own)
    return Wanted(own, title, ("e2hype_eval.py", str(run.folder), *words, *grid, "--name", own), named is not None)


def _flag(flag: str, value: Any, least: float, most: float) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int | float) or not least < value <= most:
        raise wrong(f"{flag.lstrip('-')}: expected a number above {least}, at most {most:g}")
    if flag == "--box" and value != int(value):
        raise wrong("box: expected a whole number")
    return [flag, f"{value:g}"]


def _points(run: ServedRun, columns: Columns, value: Any, digest: str) -> tuple[str, list[str]]:
    points = _latent_points(columns, value)
    return f"{len(points)} point(s) of the latents", ["--latent", str(_written(run, points, digest))]


def _rows(run: ServedRun, columns: Columns, value: Any, digest: str) -> tuple[str, list[str]]:
    rows = run.rows(value, MOST)
    return f"{len(rows)} particle(s)", ["--particles", ",".join(map(str, rows.tolist()))]


def _path(run: ServedRun, columns: Columns, value: Any, digest: str) -> tuple[str, list[str]]:
    if not isinstance(value, dict) or not ("rows" in value) ^ ("points" in value):
        raise wrong("path: expected points or rows, and steps")
    steps = value.get("steps", 10)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= MOST:
        raise wrong(f"path: steps: expected 2 to {MOST}")
    if "rows" in value:
        rows = run.rows(value["rows"], MOST)
        if len(rows) < 2:
            raise wrong("path: expected two particles or more")
        between = max(steps // (len(rows) - 1), 1)
        words = ["--path", ",".join(map(str, rows.tolist())), "--steps", str(between), "--route", "graph"]
        return f"a path over {len(rows)} particles", words
    corners = _latent_points(columns, value["points"])
    if len(corners) < 2:
        raise wrong("path: expected two points or more")
    return f"a path over {len(corners)} points", ["--latent", str(_written(run, along(corners, steps), digest))]


def along(corners: Float[np.ndarray, "corners latent"], steps: int) -> Float[np.ndarray, "steps latent"]:
    """Return points at even distances along straight lines from corner to corner.

    Parameters
    ----------
    corners : in order.
    steps : points, the first and the last corner among them.
    """
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    places = np.linspace(0, length[-1], steps)
    return np.stack([np.interp(places, length, column) for column in corners.T], axis=1)


def _latent_points(columns: Columns, value: Any) -> Float[np.ndarray, "points latent"]:
    latents = columns.latents()
    if latents is None:
        raise missing(f"{columns.run.name} has no latents yet; train it to its end, or embed it")
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    width = latents.shape[1]
    if points.ndim != 2 or points.shape[1] != width or not 1 <= len(points) <= MOST or not np.isfinite(points).all():
        raise wrong(f"points: expected 1 to {MOST} points of {width} finite numbers, the latents of {columns.run.name}")
    return points


def _written(run: ServedRun, points: Float[np.ndarray, "points latent"], digest: str) -> Path:
    """Write latent points where e2hype_eval.py reads them."""
    folder = run.own_folder("dashboard", "points")
    folder.mkdir(parents=True, exist_ok=True)
    write_latent(folder / f"{digest}.txt", np.arange(len(points)), points)
    return folder / f"{digest}.txt"


def _classes(run: ServedRun, columns: Columns, value: Any, digest: str) -> tuple[str, list[str]]:
    table, of = _table_of(run, value)
    number, centre = value.get("number"), value.get("centre", "mean")
    if centre not in ("mean", "medoid") or (
        number is not None and (isinstance(number, bool) or not isinstance(number, int))
    ):
        raise wrong("class: expected a whole number, and centre mean or medoid")
    if number is None:
        return f"all classes of {of}", ["--classes", str(table), "--centre", centre]
    return f"class {number} of {of}", ["--classes", str(_class_alone(run, table, number, digest)), "--centre", centre]


def _table_of(run: ServedRun, value: Any) -> tuple[Path, str]:
    """Return the table of the classes that are asked for, and of what they are, in words."""
    if not isinstance(value, dict):
        raise wrong("class: expected embedding or segmentation, and number")
    if "segmentation" in value:
        region = value.get("region")
        if isinstance(region, bool) or not isinstance(region, int):
            raise wrong("class: region: expected a whole number")
        folder, of = dict(segmentations_of(run)).get(str(value["segmentation"])), f"region {region}"
        table = None if folder is None else folder / f"classes_region_{region:02d}.txt"
    else:
        folder, of = dict(embeddings_of(run)).get(str(value.get("embedding"))), str(value.get("embedding"))
        table = None if folder is None else folder / "classes_particles.txt"
    if table is None or not table.is_file():
        raise missing(f"{run.name} has no classes of {of[:60]}")
    return table, of


def _class_alone(run: ServedRun, table: Path, number: int, digest: str) -> Path:
    """Write the table of one class, which says of which list it is as the whole one does."""
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.startswith("#") or line.split()[1:2] == [str(number)]]
    if not any(not line.startswith("#") for line in kept):
        raise missing(f"{table.name} has no particle in class {number}")
    folder = run.own_folder("dashboard", "points")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}_class.txt"
    with replacing(path) as beside:
        beside.write_text("".join(kept), encoding="utf-8")
    return path


def is_current(run: ServedRun, name: str) -> bool:
    """Return whether volumes are there that are of the run's parameters as they are now.

    By their step of training, since a checkpoint may have come while they were made; by their time alone where they do
    not tell it.
    """
    folder = run.own_folder("volumes", name)
    if not (folder / RECORD).is_file() or (folder / RECORD).stat().st_mtime < trained(run):
        return False
    present = last_step(run.folder / "checkpoints")
    return present is None or earlier(folder).options.get(STEP, present) == present


def series_of(run: ServedRun, name: str) -> dict[str, Any]:
    """Return what the page is told of the volumes in a folder.

    Raises
    ------
    Refusal : if there are none of that name.
    """
    folder = run.own_folder("volumes", name)
    table = folder / TABLE
    if not (folder / RECORD).is_file() or not table.is_file():
        raise missing(f"{run.name} has no volumes {name}")
    for read in (table, folder / SCRIPT):
        if not run.holds(read):
            raise missing(f"volumes/{name}/{read.name}: leads out of the run folder")
    level = _level(folder / SCRIPT)
    series, atoms, mixtures = [], [], []
    for label, particle in _rows_of(table):
        path = next((folder / f"{label}{end}" for end in MAPS if (folder / f"{label}{end}").is_file()), None)
        if path is None:
            continue
        series.append({"label": label, "url": _url(run, path), "level": level, "particle": particle})
        if path.with_suffix(".pdb").is_file():
            atoms.append(_url(run, path.with_suffix(".pdb")))
            mixtures.append(_url(run, path.with_suffix(".txt"), "mixture"))
    told: dict[str, Any] = {"name": name, "series": series, "level": level}
    told["cxc"] = _url(run, folder / SCRIPT) if (folder / SCRIPT).is_file() else None
    return told | ({"gaussians": atoms, "mixtures": mixtures} if atoms else {})


def _rows_of(table: Path) -> Iterator[tuple[str, int]]:
    """Yield the volumes that a table names, each with its particle; lines that are no such are left out."""
    for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and NAME.fullmatch(words[0]) and WHOLE.fullmatch(words[1]):
            yield words[0], int(words[1])


def series_names(run: ServedRun) -> list[str]:
    """Return the names of all volumes of a run that have a table."""
    records = sorted((run.folder / "volumes").glob(f"*/{RECORD}"))
    names = [record.parent.name for record in records if NAME.fullmatch(record.parent.name)]
    return [name for name in names if (run.folder / "volumes" / name / TABLE).is_file()]


def _url(run: ServedRun, path: Path, what: str = "file") -> str:
    return f"/api/runs/{run.number}/{what}?path={quote(str(path.relative_to(run.folder)))}"


def _level(script: Path) -> float | None:
    """Return the level at which the script shows the volumes: one for all of them."""
    text = script.read_text(encoding="utf-8", errors="replace") if script.is_file() else ""
    try:
        return next((float(found[1]) for found in LEVEL.finditer(text)), None)
    except ValueError:  # signs and points, and no number
        return None


def mixture(run: ServedRun, path: Path) -> Float[np.ndarray, "gaussians 5"]:
    """Return the Gaussians of a file in EMAN2's layout: x, y, z in Å from the box centre, amplitude, sigma in Å."""
    grid = run.grid()
    if grid is None:
        raise missing(f"{run.name} has no model yet")
    found = read_gaussians(path, *grid)
    return np.column_stack([found.position, found.amplitude, found.sigma]).astype(np.float32)
