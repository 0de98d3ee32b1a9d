"""Parsers made of configurations: every flag, its help and its default come from the field that it sets."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from libhetero.cli.parser import common_parser
from libhetero.configuration import Option, declared_options, parsed_value, refusal, shortened, spellings


def configuration_parser(
    prog: str,
    description: str,
    epilog: str,
    *kinds: type,
    headings: Iterable[str] = (),
    defaults: Mapping[str, str] | None = None,
) -> argparse.ArgumentParser:
    """Return a program's parser: the common options, and those of its configurations.

    Parameters
    ----------
    prog : the program's name.
    description, epilog : of the help.
    kinds : configurations; where two declare the same flag, it sets both fields and takes the choices of both.
    headings : groups of the help, in order; others follow as they are declared.
    defaults : what help says of a default, by the field's name, where it depends on other options.
    """
    parser = common_parser(description, epilog, prog)
    groups: dict[str, Any] = {"": parser}
    for heading in headings:
        groups[heading] = parser.add_argument_group(heading)
    exclusive: dict[str, tuple[str, Any]] = {}
    required = {said.exclusive for kind in kinds for _, said in declared_options(kind) if said.required}
    for name, shared in _by_flag(kinds).items():
        said = shared[0][2]
        if said.group not in groups:
            groups[said.group] = parser.add_argument_group(said.group)
        place = groups[said.group]
        if said.exclusive:
            if said.exclusive not in exclusive:
                made = place.add_mutually_exclusive_group(required=said.exclusive in required)
                exclusive[said.exclusive] = (said.group, made)
            heading, place = exclusive[said.exclusive]
            if heading != said.group:
                raise TypeError(f"{name}: options that exclude each other belong under one heading.")
        _add(place, name, shared, defaults or {})
    return parser


def values_given(options: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Return the fields of a configuration that were given on the command line, and no others."""
    found = {field.name: _destination(field, said) for field, said in declared_options(kind) if _offered(said)}
    given = {name: getattr(options, place) for name, place in found.items() if hasattr(options, place)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def configuration_of(options: argparse.Namespace, kind: Callable[..., Any], **further: Any) -> Any:
    """Return the configuration that the command line asks for; what was not given takes its default."""
    return kind(**values_given(options, kind), **further)  # type: ignore[arg-type]


_Shared = list[tuple[type, "dataclasses.Field[Any]", Option]]


def _offered(said: Option) -> bool:
    return bool(said.flags or said.constants or said.positional)


def _destination(field: dataclasses.Field[Any], said: Option) -> str:
    """Return the attribute of the parsed options: the flag's name, which configurations may share, or several names."""
    if said.positional is not None:
        return field.name
    if not said.flags:  # not the field's name, which may be a flag of another field
        return "_or_".join(flag.lstrip("-").replace("-", "_") for flag in said.constants)
    return said.flags[0].lstrip("-").replace("-", "_")


def _by_flag(kinds: Iterable[type]) -> dict[str, _Shared]:
    found: dict[str, _Shared] = {}
    for kind in kinds:
        for field, said in declared_options(kind):
            if _offered(said):
                found.setdefault(_destination(field, said), []).append((kind, field, said))
    return found


def _add(place: Any, name: str, shared: _Shared, defaults: Mapping[str, str]) -> None:
    """Add one option to a parser, a group or an exclusive group."""
    kind, field, said = shared[0]
    text, choices = _help(shared, defaults.get(field.name)), _choices(shared)
    common: dict[str, Any] = {"help": text, "type": _parser(kind, field, said)}
    unless_given: dict[str, Any] = {"default": argparse.SUPPRESS}
    if said.positional is not None:
        if all(each.default is dataclasses.MISSING for _, each, _ in shared):
            metavar = None if choices else said.positional
            place.add_argument(name, metavar=metavar, nargs=said.count, choices=choices, **common)
        else:  # without argparse's choices, among which it would look for what was not given
            place.add_argument(name, metavar=said.positional, nargs="?", **common, **unless_given)
        return
    for flag, (value, own) in said.constants.items():
        constant = {"action": "store_const", "const": value, "help": own.replace("%", "%%")}
        place.add_argument(*spellings([flag]), dest=name, **constant, **unless_given)
    flags = tuple(spellings(flag for _, _, each in shared for flag in each.flags))
    if not flags:
        return
    if isinstance(field.default, bool):
        constant = {"action": "store_const", "const": not field.default, "help": text}
        place.add_argument(*flags, dest=name, **constant, **unless_given)
        return
    action = "append" if said.repeated else "store"
    shape = {"metavar": said.metavar, "nargs": said.count, "choices": choices}
    place.add_argument(*flags, dest=name, action=action, **shape, **common, **unless_given)


def _choices(shared: _Shared) -> tuple[Any, ...] | None:
    """Return the choices of all that share a flag; None where one of them takes anything."""
    if not all(said.choices for _, _, said in shared):
        return None
    return tuple(dict.fromkeys(choice for _, _, said in shared for choice in said.choices))


def _parser(kind: type, field: dataclasses.Field[Any], said: Option) -> Callable[[str], Any]:
    """Return what makes a value of a text, and refuses one outside of its limits before anything else is done."""
    part = said.count is not None or said.repeated  # a text is one of several values; choices are argparse's own
    limits = dataclasses.replace(said, choices=(), check=None if part else said.check)

    def parse(text: str) -> Any:
        if text is argparse.SUPPRESS:  # what argparse has in place of an argument by place that is left out
            return text
        try:
            value = parsed_value(kind, field.name, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}; got {shortened(repr(text))}") from None
        expected = None if value is None else refusal(limits, value)[0]
        if expected is not None:
            raise argparse.ArgumentTypeError(f"expected {expected}; got {shortened(repr(text))}")
        return value

    return parse


def _help(shared: _Shared, default: str | None) -> str:
    texts = list(dict.fromkeys(said.help for _, _, said in shared if said.help))
    defaults = [default] if default else list(dict.fromkeys(filter(None, (_default(*each[1:]) for each in shared))))
    text = "; ".join(texts)
    return f"{text} (default: {', '.join(defaults)})".replace("%", "%%") if defaults else text.replace("%", "%%")


def _default(field: dataclasses.Field[Any], said: Option) -> str:
    """Return what help says of the default."""
    if said.shown_default is not None:
        return said.shown_default
    default = said.otherwise if field.default is None else field.default
    if default in (None, dataclasses.MISSING, "", ()) or isinstance(default, bool):
        return ""
    values = default if isinstance(default, tuple) else (default,)
    return " ".join(f"{value / said.scale:g}" if isinstance(value, float) else str(value) for value in values)
