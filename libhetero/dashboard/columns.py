"""What is known of each particle of a run, a column at a time: numbers, categories and flags, by a name.

    z1, z1_sd           latents and their standard deviations (mid_00.txt)
    pca1, density       principal components of the latents; how many particles lie near in the first two, 0 to 1
    NAME/x, NAME/y      the plane of an embedding; NAME/class, NAME/probability, NAME/density likewise
    contrast, junk …    what the image says of the particle (particles_00.txt)
    defocus, altitude … how it was seen (particles.npz)
    NAME/region_01 …    of a segmentation: how much of a region particles have, coordinates in it (region_01_1), classes
    list/LABEL          any column of the list that the run was trained on, once that is read
    selection/NAME      whether a particle is in a selection

Missing values are NaN, or -1 where they are whole numbers. A run's own names contain no "/".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from libhetero.dashboard.refusals import missing
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.tables import columns_of, is_large, read_table
from libhetero.errors import UserError
from libhetero.pipelines.listing.columns import column_names, list_column
from libhetero.pipelines.regions.record import read_record

LATEST = "latest"  # an embedding or a segmentation that no call has kept, in the run folder itself
MOST_COMPONENTS = 6
BINS, BLUR = 256, 2.0  # of densities: along each axis, and their smoothing in bins
HEAD = 1000  # particles by which a column of the list is told: numbers or text
MOST_CATEGORIES = 5000
FINDINGS = (
    ("contrast", "contrast", ""),
    ("contrast_sd", "contrast, standard deviation", ""),
    ("evidence", "evidence for the model", "log-likelihood ratio"),
    ("junk", "probability of junk", ""),
)
UNITS = {
    "defocus": "µm",
    "astigmatism": "µm",
    "phase_shift": "°",
    "voltage": "kV",
    "shift": "Å",
    "tilt": "°",
    "stage_tilt": "°",
    "exposure": "e-/Å²",
    "box": "px",
    "pixel_size": "Å",
}


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Parameters
    ----------
    name : by which it is asked for.
    label, unit : for axes.
    kind : "number", "category" or "flag".
    group : "latent", "embedding", "class", "particle", "region" or "selection".
    values : gives them: float32; or int32 of a category, -1 for none; or uint8 of a flag.
    ready : whether they are at hand at once.
    categories : names of the values of a category, from 0; None where the numbers are the names.
    """

    name: str
    label: str
    unit: str
    kind: str
    group: str
    values: Callable[[], Shaped[np.ndarray, "particles"]]
    ready: bool = True
    categories: Callable[[], list[str]] | None = None

    def described(self) -> dict[str, Any]:
        """Return what the page is told of it; limits are None until reading them takes no more than a moment."""
        told: dict[str, Any] = {name: getattr(self, name) for name in ("name", "label", "unit", "kind", "group")}
        told |= {"minimum": None, "maximum": None}
        if self.ready:
            told |= dict(zip(("minimum", "maximum"), limits(self.values()), strict=True))
            if self.categories is not None:
                told["categories"] = self.categories()
        return told


def limits(values: Shaped[np.ndarray, "particles"]) -> tuple[float | None, float | None]:
    """Return the least and the largest of the finite values; None, None without any."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (None, None) if not len(finite) else (float(finite.min()), float(finite.max()))


class Columns:
    """The columns of a run.

    Parameters
    ----------
    run : whose.
    keep : whether large tables may be kept as arrays below the run folder.
    """

    def __init__(self, run: ServedRun, keep: bool = True) -> None:
        self.run, self._keep = run, keep

    def all(self) -> dict[str, Column]:
        """Return every column by its name, as the files are now."""
        parts = (self._latents, self._components, self._planes, self._findings, self._views, self._regions, self._list)
        found = {column.name: column for part in parts for column in part()}
        return found | {column.name: column for column in self._selections()}

    def column(self, name: str) -> Column:
        """Return a column by its name.

        Raises
        ------
        Refusal : for a name that the run has not.
        """
        found = self.all().get(name)
        if found is None:
            raise missing(f"{self.run.name} has no column {name[:100]!r}")
        return found

    def values(self, name: str) -> Shaped[np.ndarray, "particles"]:
        """Return the values of a column by its name.

        Raises
        ------
        Refusal : for a name that the run has not.
        """
        return self.column(name).values()

    def latents(self) -> Float[np.ndarray, "particles latent"] | None:
        """Return the latents; None before there are any."""
        path = self.run.folder / "mid_00.txt"
        return read_table(self.run, path, self._keep) if path.is_file() else None

    def _of_table(self, path: Path, place: int) -> Callable[[], Shaped[np.ndarray, "particles"]]:
        return lambda: np.ascontiguousarray(read_table(self.run, path, self._keep)[:, place], np.float32)

    def _labels(self, path: Path, place: int) -> Callable[[], Int[np.ndarray, "particles"]]:
        return lambda: np.nan_to_num(read_table(self.run, path, self._keep)[:, place], nan=-1).astype(np.int32)

    def _ready(self, path: Path) -> bool:
        return not is_large(path) or self.run.kept.holds(("table", path))

    def _latents(self) -> Iterator[Column]:
        for name, end, label in (("mid_00.txt", "", "latent {}"), ("mid_00_sd.txt", "_sd", "latent {}, deviation")):
            path = self.run.folder / name
            for place in range(columns_of(self.run, path)):
                number, values = place + 1, self._of_table(path, place)
                yield Column(f"z{number}{end}", label.format(number), "", "number", "latent", values, self._ready(path))

    def _components(self) -> Iterator[Column]:
        path = self.run.folder / "mid_00.txt"
        count, ready = min(columns_of(self.run, path), MOST_COMPONENTS), self._ready(path)
        for place in range(count):

            def values(place: int = place) -> Float[np.ndarray, "particles"]:
                return self._principal()[0][:, place]

            share = f", {100 * self._principal()[1][place]:.0f} %" if ready else ""
            label = f"principal component {place + 1}{share}"
            yield Column(f"pca{place + 1}", label, "", "number", "embedding", values, ready)
        if count > 1:
            yield Column(
                "density", "density in the first two components", "", "number", "embedding", self._density_of_all, ready
            )

    def _principal(self) -> tuple[Float[np.ndarray, "particles components"], Float[np.ndarray, "components"]]:
        """Return principal components of the latents, and what part of their variance each explains."""
        path = self.run.folder / "mid_00.txt"
        table = partial(read_table, self.run, path, self._keep)
        return self.run.kept.get("principal", [path], lambda: principal_components(table()))

    def _density_of_all(self) -> Float[np.ndarray, "particles"]:
        path = self.run.folder / "mid_00.txt"
        return self.run.kept.get("density", [path], lambda: density_of(self._principal()[0][:, :2]))

    def _planes(self) -> Iterator[Column]:
        for name, folder in embeddings_of(self.run):
            plane, classes = folder / "embed_particles.txt", folder / "classes_particles.txt"
            if columns_of(self.run, plane) == 2:
                axes = "PC" if "pca" in name else "UMAP"
                for place, axis in enumerate("xy"):
                    label = f"{axes} {place + 1} ({name})"
                    values, ready = self._of_table(plane, place), self._ready(plane)
                    yield Column(f"{name}/{axis}", label, "", "number", "embedding", values, ready)

                def density(plane: Path = plane) -> Float[np.ndarray, "particles"]:
                    whole = read_table(self.run, plane, self._keep)
                    return self.run.kept.get(("density", plane), [plane], lambda: density_of(np.asarray(whole)))

                yield Column(
                    f"{name}/density", f"density ({name})", "", "number", "embedding", density, self._ready(plane)
                )
            yield from self._classes(classes, f"{name}/", name)

    def _classes(self, path: Path, before: str, of: str) -> Iterator[Column]:
        width, ready = columns_of(self.run, path), self._ready(path)
        if width > 0:
            yield Column(f"{before}class", f"class ({of})", "", "category", "class", self._labels(path, 0), ready)
        if width > 1:
            label, values = f"probability of the class ({of})", self._of_table(path, 1)
            yield Column(f"{before}probability", label, "", "number", "class", values, ready)

    def _findings(self) -> Iterator[Column]:
        path = self.run.folder / "particles_00.txt"
        if columns_of(self.run, path) == len(FINDINGS):
            for place, (name, label, unit) in enumerate(FINDINGS):
                yield Column(name, label, unit, "number", "particle", self._of_table(path, place), self._ready(path))

    def _views(self) -> Iterator[Column]:
        record = self.run.record
        if record is None:
            return
        if "ctf" in record.seen:
            defocus = record.seen["ctf"][:, :2].mean(axis=1) / 1e4
            yield Column("defocus", "defocus", "µm", "number", "particle", lambda: defocus.astype(np.float32))
        if "rotation" in record.seen:
            for name, label, place in (("azimuth", "azimuth of the view", 0), ("altitude", "altitude of the view", 1)):

                def angle(place: int = place) -> Float[np.ndarray, "particles"]:
                    return view_angles(record.seen["rotation"])[place]

                yield Column(name, label, "°", "number", "particle", angle)
        if len(record.names) > 1:
            names = [Path(name).name for name in record.names]
            values = record.file_id.astype(np.int32)
            yield Column("stack", "stack", "", "category", "particle", lambda: values, True, lambda: names)

    def _regions(self) -> Iterator[Column]:
        for name, folder in segmentations_of(self.run):
            yield from self._presence(name, folder)
            for path in sorted(folder.glob("embed_region_*.txt")):
                found = re.fullmatch(r"embed_(region_[0-9]+)", path.stem)
                for place in range(columns_of(self.run, path) if found else 0):
                    region = found[1] if found else ""
                    label = f"{region.replace('_', ' ')}, coordinate {place + 1} ({name})"
                    values = self._of_table(path, place)
                    own = f"{name}/{region}_{place + 1}"
                    yield Column(own, label, "", "number", "region", values, self._ready(path))
            for path in sorted(folder.glob("classes_region_*.txt")):
                region = path.stem.removeprefix("classes_")
                yield from self._classes(path, f"{name}/{region}_", f"{name}, {region.replace('_', ' ')}")

    def _presence(self, name: str, folder: Path) -> Iterator[Column]:
        """Yield how much of each region particles have, or how far it has moved in them."""
        path, record = folder / "regions_presence.txt", None
        if columns_of(self.run, path):
            record = self.run.kept.get(("regions", folder), [folder / "regions.json"], lambda: read_record(folder))
        kinds = {} if record is None else {one.region: one.kind for one in record.regions}
        for number in range(1, columns_of(self.run, path) + 1 if kinds else 1):
            kind, place = kinds.get(number, ""), number - 1
            what, unit = ("displacement", "Å") if kind == "motion" else ("relative amplitude", "")
            label, own = f"region {number}, {what} ({name})", f"{name}/region_{number:02d}"
            yield Column(own, label, unit, "number", "region", self._of_table(path, place), self._ready(path))

    def _list(self) -> Iterator[Column]:
        """Yield the columns of the list, where it has been read."""
        if not self.run.kept.holds("particles"):
            return
        try:
            particles = self.run.particles()
        except UserError:
            return
        yield from self.run.kept.get(("list", id(particles)), [], lambda: list(_list_columns(self.run, particles)))

    def _selections(self) -> Iterator[Column]:
        from libhetero.dashboard.selections import read_rows, selections_of

        for made in selections_of(self.run):

            def flags(name: str = made.name) -> Shaped[np.ndarray, "particles"]:
                values = np.zeros(self.run.count, np.uint8)
                values[read_rows(self.run, name)] = 1
                return values

            yield Column(f"selection/{made.name}", f"in {made.name}", "", "flag", "selection", flags)


def embeddings_of(run: ServedRun) -> list[tuple[str, Path]]:
    """Return the embeddings of a run by name, with their folders: those kept, or the latest where none is."""
    return _kept(run, "embeddings", ("embed_particles.txt", "classes_particles.txt"))


def segmentations_of(run: ServedRun) -> list[tuple[str, Path]]:
    """Return the segmentations of a run by name, with their folders: those kept, or the latest where none is."""
    return _kept(run, "segmentations", ("regions.json", "regions.txt"))


def _kept(run: ServedRun, kind: str, files: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Return those kept that hold one of some files, and the latest where no file of it is among theirs."""
    found = [
        (record.parent.name, record.parent)
        for record in sorted((run.folder / kind).glob("*/made.json"))
        if any((record.parent / name).is_file() for name in files)
    ]
    there = next((run.folder / name for name in files if (run.folder / name).is_file()), None)
    if there is not None and not any(_is_one(there, folder / there.name) for _, folder in found):
        found.insert(0, (LATEST, run.folder))
    return found


def _is_one(path: Path, other: Path) -> bool:
    """Return whether two names are of one file, or of a copy of it."""
    if not other.is_file():
        return False
    here, there = path.stat(), other.stat()
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev) or (
        here.st_size == there.st_size and path.read_bytes() == other.read_bytes()
    )


def principal_components(
    latents: Float[np.ndarray, "particles latent"],
) -> tuple[Float[np.ndarray, "particles components"], Float[np.ndarray, "components"]]:
    """Return at most six principal components of latents, and what part of their variance each explains.

    The largest part of each direction is positive, so that figures of one run are the same each time.
    """
    values = np.nan_to_num(np.asarray(latents, np.float64))
    centred = values - values.mean(axis=0)
    variance, directions = np.linalg.eigh(centred.T @ centred / max(len(values), 1))
    order = np.argsort(variance)[::-1][:MOST_COMPONENTS]
    chosen = directions[:, order]
    chosen = chosen * np.sign(chosen[np.argmax(np.abs(chosen), axis=0), np.arange(len(order))])
    total = max(float(variance.sum()), 1e-30)
    return (centred @ chosen).astype(np.float32), np.maximum(variance[order], 0) / total


def density_of(plane: Float[np.ndarray, "particles 2"]) -> Float[np.ndarray, "particles"]:
    """Return how many particles lie near each, of 1 where most do: counts in bins, smoothed."""
    from scipy.ndimage import gaussian_filter

    inside = np.isfinite(plane).all(axis=1)
    found = np.full(len(plane), np.nan, np.float32)
    if not inside.any():
        return found
    points = plane[inside].astype(np.float64)
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-30)
    bins = np.minimum((BINS * (points - low) / span).astype(np.int64), BINS - 1)
    counts = np.bincount(bins[:, 0] * BINS + bins[:, 1], minlength=BINS * BINS).reshape(BINS, BINS)
    smooth = gaussian_filter(counts.astype(np.float64), BLUR)
    found[inside] = (smooth / max(float(smooth.max()), 1e-30))[bins[:, 0], bins[:, 1]]
    return found


def view_angles(
    rotation: Shaped[np.ndarray, "particles 3 3"],
) -> tuple[Float[np.ndarray, "particles"], Float[np.ndarray, "particles"]]:
    """Return from where each particle is seen: azimuth, -180 to 180, and altitude above the xy plane, -90 to 90, °.

    The beam's direction in the model's frame is Rᵀ z, the last row of R.
    """
    x, y, z = np.asarray(rotation[:, 2], np.float64).T
    azimuth, altitude = np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(np.clip(z, -1, 1)))
    return azimuth.astype(np.float32), altitude.astype(np.float32)


def _list_columns(run: ServedRun, particles: Any) -> Iterator[Column]:
    """Yield the columns of a list: numbers, and texts of which many particles share one."""
    head = particles.take(np.arange(min(HEAD, len(particles))))
    for name in column_names(particles):
        try:
            values = list_column(head, name)
        except UserError:
            continue
        if values is None or values.ndim != 1:
            continue
        unit, own = UNITS.get(name, ""), f"list/{name}"
        if _numbers(values) is not None:

            def numbers(name: str = name) -> Float[np.ndarray, "particles"]:
                found = _numbers(np.asarray(list_column(particles, name)))
                return np.full(len(particles), np.nan, np.float32) if found is None else found

            yield Column(own, name, unit, "number", "particle", numbers, ready=False)
        elif len(values) < HEAD or len(set(map(str, values.tolist()))) <= HEAD // 2:

            def coded(name: str = name) -> tuple[list[str], Int[np.ndarray, "particles"]]:
                return run.kept.get(("codes", name, id(particles)), [], lambda: _codes(list_column(particles, name)))

            yield Column(
                own,
                name,
                unit,
                "category",
                "particle",
                lambda coded=coded: coded()[1],  # type: ignore[misc]
                ready=False,
                categories=lambda coded=coded: coded()[0],  # type: ignore[misc]
            )


def _numbers(values: Shaped[np.ndarray, "particles"]) -> Float[np.ndarray, "particles"] | None:
    try:
        return np.asarray(values, np.float32)
    except (TypeError, ValueError):
        return None


def _codes(values: Any) -> tuple[list[str], Int[np.ndarray, "particles"]]:
    """Return the texts of a column, rising, and which one each particle has; those beyond thousands are none."""
    names, code = np.unique(np.array([str(value) for value in values.tolist()], object), return_inverse=True)
    kept = np.where(code.ravel() < MOST_CATEGORIES, code.ravel(), -1)
    return [str(name) for name in names[:MOST_CATEGORIES]], kept.astype(np.int32)
