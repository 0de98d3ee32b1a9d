"""One declaration for each option: a dataclass field whose metadata hold flag, unit, help, limits and choices.

    @dataclass(frozen=True)
    class EmbedConfig:
        run: str = option(positional="RUN", help="run folder")
        neighbours: int = option(15, "--neighbours", least=2, metavar="N", help="UMAP's neighbours of each point")

        def __post_init__(self) -> None:
            check_options(self)

A field is one of three:

    option(default, "--flag", …)    set by a flag of the program, or by its place (`positional`)
    option(default, …)              without a flag: a field of a model's configuration, reached by --set NAME=VALUE
    internal(default, help)         found by the program itself, and stored: no user sets it

The same refusals meet a command line and a configuration made in Python; each is one line:

    --ngauss: expected 1 to 1048576; got 0.
    --steps goes with --path; leave it out, or add --path.
    --truth and --labels exclude each other; give one of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from libhetero.errors import ConfigurationError

KEY = "option"
ABSENT = dataclasses.MISSING
MOST_SHOWN = 200  # characters of a value in a message

_TYPED: ContextVar[frozenset[str]] = ContextVar("flags as they were typed", default=frozenset())


@dataclass(frozen=True)
class Option:
    """What is said once of a field; see `option` for each.

    `flags` holds the flag and its aliases, the spelling that help and messages use first.
    """

    help: str
    flags: tuple[str, ...] = ()
    positional: str | None = None
    metavar: str | tuple[str, ...] | None = None
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    even: bool = False
    scale: float = 1.0
    constants: Mapping[str, tuple[Any, str]] = dataclasses.field(default_factory=dict)
    parse: Callable[[str], Any] | None = None
    check: Callable[[Any], str | None] | None = None
    count: int | str | None = None
    otherwise: Any = None
    repeated: bool = False
    shown_default: str | None = None
    group: str = ""
    goes_with: tuple[str, ...] = ()
    exclusive: str = ""
    required: bool = False
    changeable: bool = False
    path: bool = False
    internal: bool = False


def option(default: Any = ABSENT, *flags: str, help: str, **said: Any) -> Any:
    """Declare a field of a configuration.

    Parameters
    ----------
    default : of the field; left out where it must be given.
    flags : "--niter" and its aliases; a flag with "_" may be typed with "-" too, and needs no alias for that.
    help : what it is, its unit included; the default is added to it where help is printed.
    positional : name of an argument without a flag, as help prints it.
    metavar : of the value, such as "N" or "Å".
    choices : the values allowed, or those of each of several.
    least, most, above, below : limits of a number, or of each of several; the last two are not reached. A number
        is finite in any case.
    even : whether a number must be even.
    scale : internal units in one of those that users type and read, such as 1e4 for Å in µm.
    constants : {flag: (value, help)} of flags that take no argument and set the field.
    parse : makes the value of its text, raising ValueError with what was expected; None goes by the annotation.
    check : says of the whole value what was expected in its place; None accepts it.
    count : how many values a flag takes, as argparse's nargs; None is one.
    otherwise : what a field that is None stands for, where giving it at all may be refused; see `value_of`.
    repeated : whether the flag may be given again, each time adding a value.
    shown_default : what help says of the default in place of its value; "" for nothing.
    group : heading in the help.
    goes_with : names of fields; the option is refused where none of them was given.
    exclusive : options that share this word exclude each other.
    required : whether one of the options that share `exclusive` must be given.
    changeable : whether a run that goes on may be given another value.
    path : whether it names a file or folder, which a run folder keeps as an absolute path.
    """
    return _field(default, Option(help=help, flags=flags, **said))


def internal(default: Any = ABSENT, help: str = "", **said: Any) -> Any:
    """Declare a field that no user sets: measured on the particles, or a configuration within this one.

    Parameters
    ----------
    default : of the field; a callable makes it anew each time.
    help : what it is.
    said : limits, as of `option`.
    """
    return _field(default, Option(help=help, internal=True, **said))


def _field(default: Any, said: Option) -> Any:
    metadata = {KEY: said}
    if default is ABSENT:
        return dataclasses.field(metadata=metadata)
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def same_as(kind: Any, name: str, default: Any = ABSENT, **said: Any) -> Any:
    """Declare a field as another configuration does, so that a flag of several programs is described once.

    Parameters
    ----------
    kind, name : the configuration and its field.
    default : in place of that field's own.
    said : what is said differently, as of `option`.
    """
    field = _field_of(kind, name)
    return _field(field.default if default is ABSENT else default, dataclasses.replace(option_of(field), **said))


def option_of(field: dataclasses.Field[Any]) -> Option:
    """Return what was said of a field.

    Raises
    ------
    TypeError : if nothing was; a defect of the configuration.
    """
    if KEY not in field.metadata:
        raise TypeError(f"{field.name}: no option was declared for this field; use option or internal.")
    return field.metadata[KEY]


def declared_options(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Option]]:
    """Yield every field of a configuration (a class or an instance of it) with what was said of it."""
    for field in dataclasses.fields(kind):
        yield field, option_of(field)


def declared(kind: Any, name: str) -> Option:
    """Return what was said of a field by its name."""
    return option_of(_field_of(kind, name))


@contextlib.contextmanager
def flags_typed(arguments: Iterable[str]) -> Iterator[None]:
    """Let messages name options as these arguments do, for the time of the call, where a flag has other spellings."""
    token = _TYPED.set(frozenset(argument.split("=")[0] for argument in arguments if argument.startswith("-")))
    try:
        yield
    finally:
        _TYPED.reset(token)


def spellings(flags: Iterable[str]) -> Iterator[str]:
    """Yield each flag and, where it has "_", the same with "-"."""
    for flag in dict.fromkeys(flags):
        yield flag
        if "_" in flag:
            yield flag.replace("_", "-")


def named(kind: Any, name: str) -> str:
    """Return what a user calls a field: its flag as it was typed (`flags_typed`), or its name where it has none.

    Of flags that were not typed and each set a value, it is the one for the value that a configuration (`kind`) has,
    else the first.
    """
    said = declared(kind, name)
    typed = next((flag for flag in spellings((*said.flags, *said.constants)) if flag in _TYPED.get()), None)
    if typed is not None:
        return typed
    chosen = [flag for flag, (value, _) in said.constants.items() if getattr(kind, name, None) == value]
    return next(iter((*said.flags, *chosen, *said.constants)), said.positional or name)


def asked(configuration: Any, name: str) -> bool:
    """Return whether a field has another value than its default."""
    field = _field_of(configuration, name)
    default = field.default if field.default_factory is ABSENT else field.default_factory()
    return getattr(configuration, name) != default


def words_of(configuration: Any, names: Iterable[str] | None = None) -> list[str]:
    """Return the words of a command line that say what a configuration has other than by default.

    Parameters
    ----------
    configuration : of a program.
    names : of its fields, those to say; None for all. What stands without a flag is left out.
    """
    words = []
    chosen = None if names is None else set(names)
    for field, said in declared_options(configuration):
        if (chosen is not None and field.name not in chosen) or not asked(configuration, field.name):
            continue
        if said.positional is not None or not (said.flags or said.constants):
            continue
        value, flag = getattr(configuration, field.name), named(configuration, field.name)
        if not said.flags or isinstance(value, bool):
            words.append(flag)
            continue
        texts = [_typed_as(said, one) for one in (value if isinstance(value, tuple) else (value,))]
        if said.repeated:
            words += [word for text in texts for word in (flag, text)]
        else:
            words += [flag, *(texts if said.count is not None else [",".join(texts)])]
    return words


def _typed_as(said: Option, value: Any) -> str:
    return str(value) if said.scale == 1 else f"{value / said.scale:.12g}"


def value_of(configuration: Any, name: str) -> Any:
    """Return the value of a field, or what it stands for where it was not given."""
    value = getattr(configuration, name)
    return declared(configuration, name).otherwise if value is None else value


def _field_of(kind: Any, name: str) -> dataclasses.Field[Any]:
    return next(field for field in dataclasses.fields(kind) if field.name == name)


def check_options(configuration: Any) -> None:
    """Refuse values outside of what was declared; call it first in `__post_init__`.

    Raises
    ------
    ConfigurationError : "--ngauss: expected 1 to 1048576; got 0."
    """
    for field, said in declared_options(configuration):
        value = getattr(configuration, field.name)
        if value is None and field.default is None:
            continue
        expected, found = refusal(said, value)
        if expected is not None:
            got = _shown(found, said.scale)
            raise ConfigurationError(f"{named(configuration, field.name)}: expected {expected}; got {got}.")
    _check_company(configuration)
    _check_exclusion(configuration)


def refused(configuration: Any, name: str, expected: str) -> ConfigurationError:
    """Return the refusal of a field that does not go with another, to be raised, in the words of `check_options`."""
    got = _shown(getattr(configuration, name), declared(configuration, name).scale)
    return ConfigurationError(f"{named(configuration, name)}: expected {expected}; got {got}.")


def refusal(said: Option, value: Any) -> tuple[str | None, Any]:
    """Return what should stand in place of a field's value, None where it may stand, and the part that is wrong."""
    for item in _items(value):
        expected = _expected(said, item)
        if expected is not None:
            return expected, item
    return (None if said.check is None else said.check(value)), value


def _items(value: Any) -> Iterator[Any]:
    """Yield what a value holds, however deep in tuples."""
    if not isinstance(value, tuple):
        yield value
        return
    for item in value:
        yield from _items(item)


def _expected(said: Option, value: Any) -> str | None:
    """Return what should stand in place of one value by its choices and limits, or None."""
    if said.choices and value not in said.choices:
        return _joined(said.choices)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _within(said, value):
        limits = described_limits(said)
        return limits if _finite(value) or " to " in limits else ", ".join(filter(None, ["a finite number", limits]))
    return None


def _finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)  # a whole number may be too large for a float


def _within(said: Option, value: float) -> bool:
    # Written so that a value that is no number is outside of every limit.
    return (
        _finite(value)
        and (said.least is None or value >= said.least)
        and (said.most is None or value <= said.most)
        and (said.above is None or value > said.above)
        and (said.below is None or value < said.below)
        and not (said.even and value % 2)
    )


def described_limits(said: Option) -> str:
    """Return the limits in words: "an even number, 8 or more", "0 to 1", "more than 0 and at most 1"."""
    least, most, above, below = (
        None if limit is None else _number_text(limit / said.scale)
        for limit in (said.least, said.most, said.above, said.below)
    )
    if least is not None and most is not None:
        words = [f"{least} to {most}"]
    else:
        words = [] if above is None else [f"more than {above}"]
        words += [] if least is None else [f"{least} or more"]
        words += [] if most is None else [f"at most {most}"]
        words += [] if below is None else [f"less than {below}"]
    if said.even:
        return ", ".join(["an even number", *words])
    return " and ".join(words)


def _number_text(value: float) -> str:
    """Return a limit as people write it: whole ones below 10^10 with all their digits."""
    return str(round(value)) if abs(value) < 1e10 and math.isclose(value, round(value)) else f"{value:g}"


def _check_company(configuration: Any) -> None:
    """Refuse an option without any of those that it goes with."""
    for field, said in declared_options(configuration):
        if not said.goes_with or not asked(configuration, field.name):
            continue
        if not any(asked(configuration, other) for other in said.goes_with):
            others = _joined([named(configuration, other) for other in said.goes_with])
            raise ConfigurationError(
                f"{named(configuration, field.name)} goes with {others}; leave it out, or add {others}."
            )


def _check_exclusion(configuration: Any) -> None:
    """Refuse two options that exclude each other, and none where one is required."""
    groups: dict[str, list[dataclasses.Field[Any]]] = {}
    for field, said in declared_options(configuration):
        if said.exclusive:
            groups.setdefault(said.exclusive, []).append(field)
    for fields in groups.values():
        given = [named(configuration, field.name) for field in fields if asked(configuration, field.name)]
        if len(given) > 1:
            raise ConfigurationError(f"{' and '.join(given)} exclude each other; give one of them.")
        if not given and any(option_of(field).required for field in fields):
            raise ConfigurationError(f"expected {_joined([named(configuration, field.name) for field in fields])}.")


def _joined(values: Sequence[Any]) -> str:
    words = list(map(str, values))
    return " or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}"


def _shown(value: Any, scale: float) -> str:
    if isinstance(value, tuple):
        return " ".join(_shown(item, scale) for item in value) or "none"
    if isinstance(value, float):
        return f"{value / scale:g}"
    return shortened(repr(value) if isinstance(value, str) else str(value))


def shortened(text: str) -> str:
    """Return what a user gave, cut in the middle where it would fill the screen."""
    return text if len(text) <= MOST_SHOWN else f"{text[:20]}...{text[-10:]} ({len(text)} characters)"


def parsed_value(kind: type, name: str, text: str) -> Any:
    """Return the value of a field from its text, by `parse` or by the field's annotation.

    Where a flag takes several values (`count`, `repeated`), the text is one of them.

    Raises
    ------
    ValueError : saying what was expected.
    """
    said, hint = declared(kind, name), typing.get_type_hints(kind)[name]
    if said.parse is not None:
        return said.parse(text)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if said.count is not None or said.repeated:  # each of the values by itself
        hint = typing.get_args(hint)[0]
    value = _typed(hint, text)
    return value if said.scale == 1 else value * said.scale


def _typed(hint: Any, text: str) -> Any:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_typed(item, part) for part in text.split(",") if part)
    if hint is bool:
        if text.lower() not in ("true", "1", "yes", "false", "0", "no"):
            raise ValueError("expected true or false")
        return text.lower() in ("true", "1", "yes")
    if hint is int:
        return whole_number(text)
    return number(text) if hint is float else hint(text)


def whole_number(text: str) -> int:
    """Return a whole number of a text; the digits are 0 to 9, though `int` takes those of every script.

    Raises
    ------
    ValueError : saying what was expected.
    """
    if re.fullmatch(r"[+-]?[0-9]{1,1000}", text) is None:  # `int` takes a few thousand digits, and their square in time
        raise ValueError("expected a whole number")
    return int(text)


def number(text: str) -> float:
    """Return a number of a text, nan and inf among them: limits refuse these.

    Raises
    ------
    ValueError : saying what was expected.
    """
    try:
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise ValueError("expected a number") from None
