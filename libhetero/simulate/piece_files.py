"""JSON that says how an atomic model is cut into pieces: segments, or domains with their hinges.

Segments: a list of objects with a name (`segment` or `name`) and lists of chains (every other value
that is a list of strings); the first is the core. Domains: an object, or a list of objects one per
model file, with `body` (the core's name) and `domains`, each with `selection` [[chain, ranges or
null], ...] and for the others than the core `pivot` (Å, in the file's frame) and `axis_u`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from libhetero.configuration import wrong_value
from libhetero.errors import DataError
from libhetero.files import check_readable

LARGEST = 2**26  # bytes
Number = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
Residue = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]
Range = tuple[int, int]
Vector = tuple[Number, Number, Number]
# A range is a list here and a tuple only afterwards: msgspec 0.22 crashes the interpreter on a number with limits that
# may also be a tuple.
Ranges = list[Residue | list[Residue]]


class Domain(msgspec.Struct):
    """A piece of a model.

    Parameters
    ----------
    selection : chains, each with a range of residues, a list of ranges, or None for all of it.
    pivot : Å, of the hinge; None where it does not move.
    axis_u : of the hinge, of any length but 0.
    """

    selection: list[tuple[str, Ranges | None]]
    pivot: Vector | None = None
    axis_u: Vector | None = None

    def ranges(self) -> list[tuple[str, list[Range] | None]]:
        """Return the chains, each with its ranges of residues; None for all of it.

        Raises
        ------
        ValueError : for anything but pairs.
        """
        return [(chain, None if ranges is None else _pairs(ranges)) for chain, ranges in self.selection]


class Domains(msgspec.Struct):
    """The pieces of a model by name, the core being `body`."""

    body: str
    domains: dict[str, Domain]


def _pairs(ranges: list[int | list[int]]) -> list[Range]:
    rows = [one if isinstance(one, list) else [one] for one in ranges]
    if [len(row) for row in rows] == [1, 1]:
        rows = [[*rows[0], *rows[1]]]
    if any(len(row) != 2 for row in rows):
        raise ValueError(f"{str(ranges)[:40]} are no residues; expected [first, last] or a list of those")
    return [(first, last) for first, last in rows]


def read_segments(path: str) -> list[tuple[str, list[str]]]:
    """Return the name and the chains of each segment.

    Raises
    ------
    DataError : if there are not at least two, each with chains.
    """
    values = _read_json(path)
    named: list[tuple[str, list[str]]] = []
    for entry in values if isinstance(values, list) else []:
        if not isinstance(entry, dict):
            break
        lists = [v for v in entry.values() if isinstance(v, list)]
        chains = [name for one in lists for name in one if isinstance(name, str)]
        name = entry.get("segment", entry.get("name", f"piece{len(named)}"))
        named.append((str(name), chains))
    if len(named) < 2 or not all(chains for _, chains in named):
        raise DataError(f"{path}: expected a list of at least 2 segments, each with a name and lists of chains.")
    return named


def read_domains(path: str, model: str) -> Domains:
    """Return the pieces that a domains file has for a model: those of the entry of its file, or of the only one.

    Raises
    ------
    DataError : if there is none, it lacks the core, or a value is not what it should be.
    """
    return _domains(domain_entry(path, model), path)


def domain_entry(path: str, model: str) -> dict[str, Any]:
    """Return the entry itself, with all that stands in it; see `read_domains`."""
    values = _read_json(path)
    entries = values if isinstance(values, list) else [values]
    entries = [e for e in entries if isinstance(e, dict) and "domains" in e and "body" in e]
    fitting = [e for e in entries if e.get("file") == Path(model).name]
    if not fitting and len(entries) == 1:
        fitting = entries
    if len(fitting) != 1:
        raise DataError(
            f"{path}: expected one entry for {Path(model).name} with 'body' and 'domains'; found {len(fitting)}."
        )
    _domains(fitting[0], path)
    return fitting[0]


def _domains(entry: dict[str, Any], path: str) -> Domains:
    try:
        found = msgspec.convert(entry, Domains)
        for domain in found.domains.values():
            domain.ranges()
            if domain.axis_u is not None and not any(domain.axis_u):
                raise ValueError("axis_u is 0, 0, 0; expected a direction")
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: {str(wrong_value(str(error)))[:160]}. Mend it.") from None
    except ValueError as error:
        raise DataError(f"{path}: {str(error)[:160]}. Mend it.") from None
    if found.body not in found.domains:
        raise DataError(f"{path}: the core, {found.body}, is none of its domains; expected one of them.")
    return found


def _read_json(path: str) -> Any:
    size = check_readable(path).stat().st_size
    if size > LARGEST:
        raise DataError(f"{path}: {size} bytes; expected a list of pieces in at most {LARGEST}.")
    try:
        return msgspec.json.decode(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({str(error)[:100]}).") from None
