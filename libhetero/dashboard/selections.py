"""Selections: particles that somebody has chosen, by name, as lists for other programs, with how they were chosen.

    RUN/selections/NAME/NAME.lst, .star, .cs    the particles, of a .cs where the run's came from one
    RUN/selections/NAME/NAME.txt                their rows in the run's list, from 0
    RUN/selections/NAME/selection.json          how they were chosen, by whom it can be done again

How a selection is made is a small expression over columns; the same expression chooses the same particles again, and
of a run that was trained further those that it is true of then:

    {"column": NAME, "from": A, "to": B}             values from A to B, either of which may be left out
    {"column": NAME, "is": VALUE}                    a value, of a category by its name
    {"class": K, "of": EMBEDDING}                    a class of an embedding; "region": N for one of a segmentation
    {"lasso": [[x, y], …], "x": NAME, "y": NAME}     points inside a polygon of two columns, by the even-odd rule
    {"rows": [r, …]}                                 rows, as a file of numbers named them
    {"selection": NAME}                              another selection as it is then
    {"and": […]}, {"or": […]}, {"minus": [a, b, …]}, {"not": a}
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import logging
import math
import shlex
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.configuration import read_document, write_json
from libhetero.dashboard.columns import Columns
from libhetero.dashboard.refusals import Refusal, missing, wrong
from libhetero.dashboard.runs import NAME, ServedRun
from libhetero.errors import UserError
from libhetero.files import remove_stale, replacing, replacing_set
from libhetero.io.indices import read_indices, write_indices
from libhetero.pipelines.decoding.class_files import SERIES_ENDING, write_series_names
from libhetero.pipelines.decoding.particle_findings import estimated, findings_in
from libhetero.pipelines.listing.writing import LIST_ENDINGS, write_lists
from libhetero.pipelines.run.list_digest import is_of_list, list_digest
from libhetero.pipelines.run.particles import listed_particles

LOGGER = logging.getLogger(__name__)
FOLDER, RECORD = "selections", "selection.json"
DEEPEST, MOST_PARTS, MOST_CORNERS = 20, 500, 20_000  # of an expression
LONGEST_TEXT = 2000
PARTED = ("and", "or", "minus", "not")  # what is made of other expressions
BUSY: set[tuple[Path, str]] = set()
BUSY_LOCK = threading.Lock()


@dataclass(frozen=True)
class Selection:
    """`selection.json`: particles by name, and how they were chosen.

    Parameters
    ----------
    name : of the folder and its lists.
    count : particles.
    made : in words, for people.
    how : the expression that chooses them; {} where rows were given without.
    command : that makes it anew.
    written : when, as people write it.
    files : of its folder.
    listed : the digest of the list whose particles these are; "" where it is not known.
    """

    name: str
    count: int
    made: str = ""
    how: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    written: str = ""
    files: tuple[str, ...] = ()
    listed: str = ""


def selections_of(run: ServedRun) -> list[Selection]:
    """Return the selections of a run, by name; those that cannot be read are left out."""
    found = []
    for path in sorted((run.folder / FOLDER).glob(f"*/{RECORD}")):
        if path.resolve().is_relative_to(run.root):
            try:
                found.append(run.kept.get(("selection", path), [path], partial(read_document, path, Selection)))
            except UserError as error:
                LOGGER.debug("%s", error)
    return found


def read_rows(run: ServedRun, name: str) -> Int[np.ndarray, "chosen"]:
    """Return the rows of a selection.

    Raises
    ------
    Refusal : if there is none of that name.
    """
    path = run.own_folder(FOLDER, name) / f"{name}.txt"
    if not path.is_file():
        raise missing(f"{run.name} has no selection {name}")
    return run.kept.get(("rows", path), [path], lambda: read_indices(path, run.count, run.name))


def chosen(run: ServedRun, columns: Columns, how: Any) -> Bool[np.ndarray, "particles"]:
    """Return which particles an expression is true of.

    Raises
    ------
    Refusal : for what is no such expression, or names what the run has not.
    """
    return _Expression(run, columns).true_of(how)


class _Expression:
    """An expression at work.

    Parameters
    ----------
    run, columns : whose particles.
    """

    def __init__(self, run: ServedRun, columns: Columns) -> None:
        self._run, self._columns, self._parts = run, columns, 0

    def true_of(self, how: Any, depth: int = 0) -> Bool[np.ndarray, "particles"]:
        """Return which particles it is true of."""
        self._parts += 1
        if not isinstance(how, dict) or depth > DEEPEST or self._parts > MOST_PARTS:
            raise wrong(f"how: expected an object at most {DEEPEST} deep, of at most {MOST_PARTS} parts")
        for key, test in (
            ("column", self._by_value),
            ("class", self._by_class),
            ("lasso", self._by_lasso),
            ("rows", self._by_rows),
            ("selection", self._by_selection),
        ):
            if key in how:
                return test(how)
        if "not" in how:
            return ~self.true_of(how["not"], depth + 1)
        for key in ("and", "or", "minus"):
            if key in how:
                return self._combined(key, how[key], depth + 1)
        raise wrong(f"how: {list(how)[:5]}; expected column, class, lasso, rows, selection, and, or, minus or not")

    def _combined(self, key: str, parts: Any, depth: int) -> Bool[np.ndarray, "particles"]:
        if not isinstance(parts, list) or not parts:
            raise wrong(f"{key}: expected a list of one or more")
        found = self.true_of(parts[0], depth)
        for part in parts[1:]:
            other = self.true_of(part, depth)
            found = found & other if key == "and" else found | other if key == "or" else found & ~other
        return found

    def _by_value(self, how: dict[str, Any]) -> Bool[np.ndarray, "particles"]:
        column = self._columns.column(_text(how, "column"))
        values = column.values()
        if isinstance(how.get("is"), str):
            names = [] if column.categories is None else column.categories()
            if _text(how, "is") not in names:
                raise wrong(f"{column.name[:100]}: {self._run.name} has no {how['is'][:100]!r} there")
            return np.isin(values, [code for code, name in enumerate(names) if name == how["is"]])
        if "is" in how:
            return values == _number(how, "is")
        values = values.astype(np.float64)  # as the page compares them
        low, high = _number(how, "from", -math.inf), _number(how, "to", math.inf)
        return (values >= low) & (values <= high)  # a value that is missing is in no range

    def _by_class(self, how: dict[str, Any]) -> Bool[np.ndarray, "particles"]:
        of, region = _text(how, "of"), how.get("region")
        if region is not None and not isinstance(region, int):
            raise wrong("region: expected a whole number")
        name = f"{of}/class" if region is None else f"{of}/region_{region:02d}_class"
        return self._columns.values(name) == _number(how, "class")

    def _by_lasso(self, how: dict[str, Any]) -> Bool[np.ndarray, "particles"]:
        try:
            corners = np.array(how["lasso"], np.float64)
        except (TypeError, ValueError, OverflowError):
            corners = np.zeros(0)
        if corners.ndim != 2 or corners.shape[1] != 2 or not 3 <= len(corners) <= MOST_CORNERS:
            raise wrong(f"lasso: expected 3 to {MOST_CORNERS} corners [x, y]")
        if not np.isfinite(corners).all():
            raise wrong("lasso: expected finite numbers")
        x, y = (self._columns.values(_text(how, axis)) for axis in "xy")
        return inside_polygon(np.stack([x, y], axis=1).astype(np.float64), corners)

    def _by_rows(self, how: dict[str, Any]) -> Bool[np.ndarray, "particles"]:
        found = np.zeros(self._run.count, bool)
        if how["rows"] != []:
            found[self._run.rows(how["rows"])] = True
        return found

    def _by_selection(self, how: dict[str, Any]) -> Bool[np.ndarray, "particles"]:
        found = np.zeros(self._run.count, bool)
        found[read_rows(self._run, _text(how, "selection"))] = True
        return found


def _with_names(how: Any, columns: Columns) -> Any:
    """Return an expression that chooses, in which categories have their names, since numbers are those of one list.

    A name that two categories share would choose both, and the number stays.
    """
    if isinstance(how, list):
        return [_with_names(part, columns) for part in how]
    if not isinstance(how, dict):
        return how
    if "column" not in how:
        return {key: _with_names(how[key], columns) if key in PARTED else how[key] for key in how}
    number, names = how.get("is"), _names_of(how, columns)
    if not isinstance(number, int | float) or not 0 <= number < len(names) or number != int(number):
        return how
    name = names[int(number)]
    return how | {"is": name} if names.count(name) == 1 else how


def _names_of(how: dict[str, Any], columns: Columns) -> list[str]:
    """Return the names of the categories of which one is chosen; none where these are numbers."""
    column = columns.column(_text(how, "column")) if how.get("is") is not None else None
    return [] if column is None or column.categories is None else column.categories()


def _of_one_list(how: Any, columns: Columns) -> str:
    """Return what an expression holds that is of the particles of one list alone, in words; "" for nothing."""
    if isinstance(how, list):
        return next(filter(None, (_of_one_list(part, columns) for part in how)), "")
    if not isinstance(how, dict):
        return ""
    if "rows" in how:
        return "particles by their rows"
    if isinstance(how.get("is"), int | float) and how["is"] >= 0 and "column" in how and _names_of(how, columns):
        return f"{how['column']} by a number"
    return _of_one_list([how[key] for key in PARTED if key in how], columns)


def _text(how: dict[str, Any], key: str) -> str:
    value = how.get(key)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise wrong(f"{key}: expected a text")
    return value


def _number(how: dict[str, Any], key: str, otherwise: float | None = None) -> float:
    value = how.get(key)
    if value is None and otherwise is not None:
        return otherwise
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise wrong(f"{key}: expected a finite number")
    return number


def inside_polygon(
    points: Float[np.ndarray, "points 2"], corners: Float[np.ndarray, "corners 2"]
) -> Bool[np.ndarray, "points"]:
    """Return which points are inside a closed polygon, by the even-odd rule; points that are not finite are outside."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    near = near[np.argsort(points[near, 1], kind="stable")]
    x, y = points[near].T
    odd = np.zeros(len(near), bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:  # the points whose line along x crosses this side
            first, last = np.searchsorted(y, (min(y1, y2), max(y1, y2)))
            odd[first:last] ^= x[first:last] < (x2 - x1) * (y[first:last] - y1) / (y2 - y1) + x1
    inside = np.zeros(len(points), bool)
    inside[near[odd]] = True
    return inside


def rows_of_text(text: Any, run: ServedRun) -> Int[np.ndarray, "chosen"]:
    """Return rows from base64 of little-endian 32-bit whole numbers, rising and each once.

    Raises
    ------
    Refusal : for what is none, or names a particle that there is not.
    """
    if not isinstance(text, str):
        raise wrong("rows: expected base64 of 32-bit whole numbers")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b"?"
    if len(data) % 4:
        raise wrong("rows: expected base64 of 32-bit whole numbers")
    return np.unique(run.rows(np.frombuffer(data, "<u4").astype(np.int64)))


def text_of_rows(rows: Int[np.ndarray, "chosen"]) -> str:
    """Return rows as base64 of little-endian 32-bit whole numbers."""
    return base64.b64encode(np.asarray(rows, "<u4").tobytes()).decode()


def rows_of_file(run: ServedRun, name: str, body: bytes) -> Int[np.ndarray, "chosen"]:
    """Return the rows that a file of numbers names, .txt or .npy: numbers from 0, or a truth value for each particle.

    Raises
    ------
    UserError : for what is no such file. Nothing is unpickled.
    """
    import io
    import tempfile

    if body[:6] == b"\x93NUMPY":
        try:
            values = np.load(io.BytesIO(body), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise wrong(f"{name}: no array of numbers ({' '.join(str(error).split())[:100]})") from None
        if values.ndim == 1 and values.dtype.kind == "b" and len(values) == run.count:
            values = np.flatnonzero(values)
        return np.unique(run.rows(values))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.txt"
        path.write_bytes(body)
        try:
            return np.unique(read_indices(path, run.count, run.name))
        except UserError as error:
            raise wrong(str(error).replace(str(path), name)) from None


def save(
    run: ServedRun, name: str, rows: Int[np.ndarray, "chosen"], made: str, how: dict[str, Any], replace: bool = False
) -> Selection:
    """Write a selection, all of it or nothing, and return its record.

    Parameters
    ----------
    rows : of its particles.
    made : in words, how they were chosen.
    how : the expression that chooses them; {} for none.
    replace : whether one of that name is replaced.

    Raises
    ------
    Refusal : 409 where there is one of that name, or another is being written under it.
    UserError : if the lists cannot be written.
    """
    if NAME.fullmatch(name) is None:
        raise wrong(f"{name[:100]!r}: expected a name of letters, digits, _, - and .")
    if not len(rows):
        raise wrong(f"{name}: no particle is selected; expected at least one")
    folder, key = run.own_folder(FOLDER, name), (run.root, name)
    with BUSY_LOCK:
        if key in BUSY:
            raise Refusal(409, f"{name}: is being written by another one; choose another name, or wait")
        BUSY.add(key)
    try:
        if folder.exists() and not replace:
            raise Refusal(409, f"{name}: there is a selection of this name; choose another one, or replace it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        listed, how = list_digest(run.particles()), _with_names(how, Columns(run))
        return _written(run, folder, Selection(name, len(rows), made, how, listed=listed), rows)
    finally:
        with BUSY_LOCK:
            BUSY.discard(key)


def _written(run: ServedRun, folder: Path, selection: Selection, rows: Int[np.ndarray, "chosen"]) -> Selection:
    """Write a selection beside its place, and put it there."""
    command = shlex.join(["e2hype_dashboard.py", str(run.folder), "--repeat", str(folder / RECORD)])
    if not selection.how:
        listed = shlex.join([str(run.folder / "ptcls_00.lst"), "--ind", str(folder / f"{selection.name}.txt")])
        command = f"e2hype_list.py {listed} --output {shlex.quote(f'{selection.name}.star')}"
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    if not folder.exists():
        with replacing(folder) as beside:
            beside.mkdir()
            return _filled(run, beside, dataclasses.replace(selection, command=command, written=written), rows)
    with replacing_set(folder):  # maps and runs that others have made of it stay
        remove_stale(folder, *(f"{selection.name}{ending}" for ending in (*LIST_ENDINGS, ".txt", SERIES_ENDING)))
        return _filled(run, folder, dataclasses.replace(selection, command=command, written=written), rows)


def _filled(run: ServedRun, folder: Path, selection: Selection, rows: Int[np.ndarray, "chosen"]) -> Selection:
    """Write the files of a selection into a folder."""
    files = _write_lists(run, folder, selection.name, rows)
    selection = dataclasses.replace(selection, files=(*files, RECORD))
    write_json(folder / RECORD, dataclasses.asdict(selection))
    return selection


def _write_lists(run: ServedRun, folder: Path, name: str, rows: Int[np.ndarray, "chosen"]) -> tuple[str, ...]:
    """Write the particles of some rows as lists, on their original images, of tilt series by name, too; return the
    files."""
    particles = run.particles()
    listed = listed_particles(estimated(particles, findings_in(run.folder, particles)), run.config.data)
    endings = [*write_lists(folder, {name: listed.take(rows)}), ".txt"]
    write_indices(folder / f"{name}.txt", rows)
    if listed.group is not None:
        write_series_names(folder, listed, {name: rows})
        endings.append(SERIES_ENDING)
    return tuple(f"{name}{ending}" for ending in endings)


def again(run: ServedRun, path: Path, name: str | None = None) -> Selection:
    """Make a selection anew by its record, of a run as it is now.

    Parameters
    ----------
    path : selection.json.
    name : of the selection; None for the one it had, which is replaced.

    Raises
    ------
    UserError : if it tells of no expression, of columns that the run has not, or of rows of another list.
    """
    stored = read_document(path, Selection)
    if not stored.how:
        raise wrong(f"{path}: does not tell how its particles were chosen; expected an expression in `how`")
    columns, particles = Columns(run), run.particles()
    own = _of_one_list(stored.how, columns)
    at_home = path.resolve().is_relative_to(run.root)
    if own and not (is_of_list(stored.listed, list_digest(particles)) if stored.listed else at_home):
        raise wrong(
            f"{path}: chooses {own}, of another list than that of {run.name}; expected a choice by values or classes. "
            f"Give the {stored.name}.star beside it to e2hype_list.py, which finds the same particles."
        )
    rows = np.flatnonzero(chosen(run, columns, stored.how))
    return save(run, name or stored.name, rows, stored.made, stored.how, replace=name is None)
