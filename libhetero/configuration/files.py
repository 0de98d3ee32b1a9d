"""Configurations as JSON: saved in the run folder and read back strictly, an unknown key being an error."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from pathlib import Path
from typing import Any, TypeVar

from libhetero.errors import ConfigurationError
from libhetero.files import replacing

Configuration = TypeVar("Configuration")


def to_dict(configuration: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON types, nested configurations included."""
    return json.loads(json.dumps(dataclasses.asdict(configuration)))


def from_dict(kind: type[Configuration], values: dict[str, Any]) -> Configuration:
    """Build a configuration from JSON types.

    Parameters
    ----------
    kind : the frozen dataclass to build.
    values : one entry per field; a missing one takes the field's default. A field that `kind` has given up
        (`RETIRED`, by name the value at which it did nothing) may be there with that value.

    Raises
    ------
    ConfigurationError : for a key that `kind` does not have, or a retired one that did something.
    """
    hints = typing.get_type_hints(kind)
    names = set(inspect.signature(kind).parameters)
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
    built = {}
    for name, value in values.items():
        hint = hints[name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
            value = from_dict(hint, value)
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return kind(**built)


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
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; is this a run folder?") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not valid JSON ({error}); restore or remove it.") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: expected a JSON object, found {type(values).__name__}.")
    return values
