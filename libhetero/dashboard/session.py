"""What the page is told of each run before anything else: what it is, where it stands, and what was made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from libhetero.dashboard.answers import one_line
from libhetero.dashboard.columns import embeddings_of, segmentations_of
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.selections import selections_of
from libhetero.dashboard.tables import columns_of
from libhetero.dashboard.volumes import series_names, series_of
from libhetero.errors import UserError
from libhetero.pipelines.regions.record import read_record

NOTHING: dict[str, Any] = {
    "family": "",
    "state": "empty",
    "epoch": 0.0,
    "epochs": 0,
    "particles": 0,
    "distinct": None,
    "box": None,
    "apix": None,
    "latent": 0,
}


def described(run: ServedRun) -> dict[str, Any]:
    """Return what the page is told of a run; what cannot be read is a warning."""
    told: dict[str, Any] = {"run": run.number, "name": run.name, "folder": str(run.folder), "warnings": [], **NOTHING}
    told |= {"embeddings": [], "segmentations": [], "volumes": [], "selections": []}
    for part in (_what, lambda one: one.state(), _embeddings, _segmentations, _volumes, _selections):
        try:
            found = part(run)
            said = found.pop("warnings", [])
            told |= found
        except (UserError, OSError) as error:
            said = [one_line(error)]
        told["warnings"] += [line for line in said if line not in told["warnings"]]
    return told


def _what(run: ServedRun) -> dict[str, Any]:
    grid = run.grid()
    told = {"family": run.config.family, "latent": columns_of(run, run.folder / "mid_00.txt")}
    told |= {"particles": run.count, "distinct": run.distinct}
    return told | ({} if grid is None else {"box": grid[0], "apix": grid[1]})


def _embeddings(run: ServedRun) -> dict[str, Any]:
    found = []
    for name, folder in embeddings_of(run):
        plane = (folder / "embed_particles.txt").is_file()
        found.append(
            {
                "name": name,
                "columns": [f"{name}/x", f"{name}/y"] if plane else [],
                "kind": "pca" if "pca" in name else "umap",
                "classes": (folder / "classes_particles.txt").is_file(),
                "figure": _figure(run, folder / "embed_particles.png"),
            }
        )
    return {"embeddings": found}


def _figure(run: ServedRun, path: Path) -> str | None:
    return f"/runs/{run.number}/files/{quote(str(path.relative_to(run.folder)))}" if path.is_file() else None


def _segmentations(run: ServedRun) -> dict[str, Any]:
    found = []
    for name, folder in segmentations_of(run):
        record = read_record(folder)
        page = _figure(run, folder / "index.html")
        found.append({"name": name, "regions": 0 if record is None else record.count, "page": page})
    return {"segmentations": found}


def _volumes(run: ServedRun) -> dict[str, Any]:
    """Tell of the volumes; those that cannot be read are warnings, and the others are shown."""
    found, warnings = [], []
    for name in series_names(run):
        try:
            found.append(series_of(run, name))
        except (UserError, OSError) as error:
            warnings.append(one_line(error))
    return {"volumes": found, "warnings": warnings}


def _selections(run: ServedRun) -> dict[str, Any]:
    found = []
    for one in selections_of(run):
        files = [f"/api/runs/{run.number}/file?path=selections/{one.name}/{name}" for name in one.files]
        told = {"name": one.name, "count": one.count, "made": one.made, "how": one.how, "command": one.command}
        found.append(told | {"written": one.written, "files": files})
    return {"selections": found}
