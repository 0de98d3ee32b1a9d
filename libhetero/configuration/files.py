"""JSON documents: configurations saved in the run folder and read back strictly, and others that a dataclass describes.

There is one door: the bytes of a file of bounded size are decoded by msgspec, which knows no NaN and ends at absurd
depths and numbers, and what they say is converted to the annotations of a dataclass, in which a whole number may stand
for a fraction, a list for a tuple, and nothing else for anything else. Logs alone (`read_lines`) are decoded by Python,
which writes NaN into them.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any, TypeVar

from libhetero.configuration.plain_words import wrong_value
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import check_readable, replacing

Document = TypeVar("Document")
LARGEST = 2**26  # bytes of a document


def to_dict(configuration: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON types, nested configurations included."""
    return json.loads(json.dumps(dataclasses.asdict(configuration)))


def from_dict(kind: type[Document], values: Any) -> Document:
    """Build a configuration from JSON types.

    Parameters
    ----------
    kind : the frozen dataclass to build.
    values : one entry per field; a missing one takes the field's default. A field that `kind` has given up
        (`RETIRED`, by name the value at which it did nothing) may be there with that value.

    Raises
    ------
    ConfigurationError : for a key that `kind` does not have, a retired one that did something, and a value that its
        annotation does not allow, or the configuration itself.
    """
    return _converted(kind, _of_known_keys(kind, values))


def read_document(path: Path, kind: type[Document]) -> Document:
    """Read a JSON object that a dataclass describes; other keys than its fields are left out.

    Raises
    ------
    ConfigurationError : if the file is missing or is no such document.
    """
    try:
        return _converted(kind, read_json(path))
    except ConfigurationError as error:
        if str(error).startswith(str(path)):
            raise
        remedy = "" if str(error).endswith(".") else "; restore the file, or make it anew."
        raise ConfigurationError(f"{path}: {error}{remedy}") from None


def read_lines(path: Path, kind: type) -> list[dict[str, Any]]:
    """Return the JSON objects of a .jsonl, one a line, that hold what a dataclass declares, with all else they hold.

    Lines that are cut, as a killed program leaves them, or hold other things are left out. NaN is read, as Python
    writes it into a log.

    Raises
    ------
    DataError : if it is missing or no file.
    """
    import msgspec

    if path.is_file() and path.stat().st_size == 0:  # nothing was written yet
        return []
    check_readable(path)
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                values = json.loads(line)
                msgspec.convert(values, kind, strict=True)
            except (ValueError, RecursionError, ConfigurationError):  # msgspec's errors are of values, too
                continue
            found.append(values)
    return found


def _of_known_keys(kind: type, values: Any) -> Any:
    """Return values without the retired keys that did nothing, those of nested configurations too."""
    if not isinstance(values, dict):
        return values  # what it should be is told by its type
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    retired = getattr(kind, "RETIRED", {})
    for name in set(values) & set(retired):
        if values[name] != retired[name]:
            raise ConfigurationError(
                f"{kind.__name__}: {name} is {values[name]}, which this version has no more; expected {retired[name]}. "
                "Use the version that wrote it."
            )
    values = {name: value for name, value in values.items() if name not in retired}
    unknown = sorted(set(values) - names)
    if unknown:
        raise ConfigurationError(
            f"{kind.__name__}: unknown key {', '.join(unknown)}; known keys are "
            f"{', '.join(sorted(names))}. Remove it or use the version that wrote it."
        )
    nested = {name: hint for name, hint in hints.items() if isinstance(hint, type) and dataclasses.is_dataclass(hint)}
    return {name: _of_known_keys(nested[name], value) if name in nested else value for name, value in values.items()}


def _converted(kind: type[Document], values: Any) -> Document:
    """Return values as a dataclass, each by its annotation."""
    import msgspec  # when the options are parsed: `--help` has no need of it

    try:
        return msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{kind.__name__}: {wrong_value(str(error))}") from None


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file beside its place and rename it there, so that it is never half written."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ConfigurationError : if the file is missing or is not a JSON object.
    """
    import msgspec

    try:
        values = msgspec.json.decode(_small_file(Path(path)))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error).partition(" - at ")[0]
        raise ConfigurationError(f"{path}: not valid JSON ({reason}); restore or remove it.") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deeply; restore or remove it.") from None
    if not isinstance(values, dict):
        found = {type(None): "null", list: "an array", str: "a text"}.get(type(values), "a number or a truth value")
        raise ConfigurationError(f"{path}: expected a JSON object, found {found}; restore or remove it.")
    return values


def _small_file(path: Path) -> bytes:
    """Return what a file of reasonable size holds; nothing else is opened."""
    try:
        size = check_readable(path).stat().st_size
    except DataError as error:
        missing = "no such file" in str(error)
        raise ConfigurationError(f"{path}: no such file; is this a run folder?" if missing else str(error)) from None
    if size > LARGEST:
        raise ConfigurationError(
            f"{path}: {size} bytes; expected a JSON document of at most {LARGEST}. Restore or remove it."
        )
    return path.read_bytes()
