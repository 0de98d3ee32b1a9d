"""Every field of every configuration of the package: declared, described, within its limits, and reached by a user."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from libhetero.cli import configuration_parser
from libhetero.configuration import Option, declared_options, refusal
from libhetero.models.families import FAMILIES
from libhetero.pipelines.run.asked import RefineConfig

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(path.name for path in (PROJECT / "programs").glob("e2hype_*.py"))
CONFIGURED = re.compile(r"^class \w+Config\b|check_options\(self\)", re.MULTILINE)


def _modules() -> Iterator[ModuleType]:
    """Yield the modules of the package that declare a configuration."""
    for path in sorted((PROJECT / "libhetero").rglob("*.py")):
        if CONFIGURED.search(path.read_text(encoding="utf-8")) and path.parent.name != "configuration":
            yield importlib.import_module(".".join(path.relative_to(PROJECT).with_suffix("").parts))


def _is_configuration(item: Any) -> bool:
    if not (inspect.isclass(item) and dataclasses.is_dataclass(item) and item.__dataclass_params__.frozen):
        return False
    return item.__name__.endswith("Config") or any("option" in field.metadata for field in dataclasses.fields(item))


CONFIGURATIONS = [
    item
    for module in _modules()
    for item in vars(module).values()
    if _is_configuration(item) and item.__module__ == module.__name__
]
FIELDS = [(kind, field) for kind in CONFIGURATIONS for field in dataclasses.fields(kind)]


def _flags(said: Option) -> tuple[str, ...]:
    return (*said.flags, *said.constants)


def _meaning(said: Option) -> Option:
    """Return what is said of a field without what a second program may word differently."""
    worded = {"group": "", "help": "", "shown_default": None, "goes_with": (), "exclusive": "", "otherwise": None}
    return dataclasses.replace(said, **worded)


@pytest.fixture(scope="module")
def offered(load_program: Callable[[str], ModuleType]) -> dict[str, tuple[Any, tuple[type, ...]]]:
    """The parser of each program, and the configurations that it is made of."""
    found: dict[str, tuple[Any, tuple[type, ...]]] = {}
    for name in PROGRAMS:
        program, kinds = load_program(name), []

        def noted(prog: str, description: str, epilog: str, *given: type, kinds: list = kinds, **others: Any) -> Any:
            kinds.extend(given)
            return configuration_parser(prog, description, epilog, *given, **others)

        program.configuration_parser = noted
        found[name] = (program.build_parser(), tuple(kinds))
        assert kinds, f"{name}: its options are not made of configurations"
    return found


def test_the_walk_meets_the_configurations_of_all_parts() -> None:
    parts = {kind.__module__.split(".")[1] for kind in CONFIGURATIONS}
    assert {"analysis", "models", "pipelines", "simulate", "training"} <= parts
    assert len({kind.__name__ for kind in CONFIGURATIONS}) == len(CONFIGURATIONS) >= len(PROGRAMS)


def test_every_field_is_declared_and_described() -> None:
    offences = []
    for kind, field in FIELDS:
        said = field.metadata.get("option")
        if said is None:
            offences.append(f"{kind.__name__}.{field.name} is declared neither by option nor by internal")
            continue
        if said.internal and _flags(said):
            offences.append(f"{kind.__name__}.{field.name} has a flag, which no user sets")
        for text in (said.help, *(text for _, text in said.constants.values())):
            if text.strip() != text or text == "" or text.endswith("."):
                offences.append(f"{kind.__name__}.{field.name} is described by {text!r}")
    assert not offences


def test_every_default_passes_its_own_limits() -> None:
    offences = []
    for kind, field in FIELDS:
        said = field.metadata["option"]
        values = [value for value, _ in said.constants.values()]
        values += [value for value in (field.default, said.otherwise) if value not in (None, dataclasses.MISSING)]
        offences += [f"{kind.__name__}.{field.name} {value}" for value in values if refusal(said, value)[0] is not None]
        names = {other.name for other in dataclasses.fields(kind)}
        offences += [f"{kind.__name__}.{field.name} goes with {name}" for name in said.goes_with if name not in names]
    assert not offences


def test_every_option_is_reached_by_a_user(offered: dict) -> None:
    """By a flag of some program, by place, or, a field of a model's configuration, by --set."""
    reached = [
        _meaning(said)
        for _, kinds in offered.values()
        for kind in kinds
        for _, said in declared_options(kind)
        if _flags(said) or said.positional is not None
    ]
    by_name = {family.config for family in FAMILIES if RefineConfig in offered["e2hype_refine.py"][1]}
    offences = [
        f"{kind.__name__}.{field.name}"
        for kind, field in FIELDS
        for said in [field.metadata["option"]]
        if not said.internal
        if _meaning(said) not in reached and not (kind in by_name and not _flags(said))
    ]
    assert not offences, "no program reaches these"


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_shows_every_option_of_the_program(program: str, offered: dict) -> None:
    parser, kinds = offered[program]
    text = " ".join(parser.format_help().split())
    known = {flag for action in parser._actions for flag in action.option_strings}
    places = {action.dest for action in parser._actions if not action.option_strings}
    for kind in kinds:
        for field, said in declared_options(kind):
            for flag in _flags(said):
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text), f"{flag} is not in --help"
                assert {flag, flag.replace("_", "-")} <= known
                assert "_" not in flag or flag.replace("_", "-") not in text, "one spelling is shown"
            assert said.positional is None or field.name in places


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_flag_means_one_thing_within_a_program(program: str, offered: dict) -> None:
    """Configurations that share a flag agree on the kind of value and on how its text is read."""
    meanings: dict[str, Any] = {}
    for kind in offered[program][1]:
        hints = typing.get_type_hints(kind)
        for field, said in declared_options(kind):
            sort = set(typing.get_args(hints[field.name]) or (hints[field.name],)) - {type(None)}
            switch = field.default if isinstance(field.default, bool) else None
            meaning = (sort, said.count, said.repeated, said.parse, said.scale, switch, dict(said.constants))
            for flag in _flags(said):
                assert meanings.setdefault(flag, meaning) == meaning, f"{flag} of {kind.__name__}"


# Limits of numbers ---------------------------------------------------------------------------

UNLIMITED = {  # number fields that need no limits, and why
    "contrast": "1 or -1, by a check",
    "extended": "pairs that training wrote, of epochs and steps that have limits",
    "tilts": "three numbers that are checked together, within what a stage can do",
}
WRONG_NUMBERS = ("nan", "inf", "-inf", "1e400", "-1", str(10**30), "-" + str(10**30), "9" * 5000, "٣", "²", "1_0", "")
SIGNED = {"--bfactor", "--defocus", "--level", "--threshold", "--ppid"}  # -1 is a value of theirs


def _kinds_of_number(hint: Any) -> set[type]:
    """Return which of int and float are in an annotation, at any depth."""
    inner = set().union(*map(_kinds_of_number, typing.get_args(hint)))
    return inner | ({hint} & {int, float} if isinstance(hint, type) else set())


def _number_fields() -> Iterator[tuple[type, Any]]:
    for kind, field in FIELDS:
        if _kinds_of_number(typing.get_type_hints(kind)[field.name]):
            yield kind, field


def test_every_number_has_a_lower_and_an_upper_limit() -> None:
    offences = []
    for kind, field in _number_fields():
        said = field.metadata["option"]
        limited = {said.least, said.above} != {None} and {said.most, said.below} != {None}
        if not limited and not said.choices and field.name not in UNLIMITED:
            offences.append(f"{kind.__name__}.{field.name}")
    assert not offences, "without limits"


def test_no_declaration_takes_a_number_that_is_not_finite() -> None:
    for kind, field in _number_fields():
        if float in _kinds_of_number(typing.get_type_hints(kind)[field.name]):
            for value in (math.nan, math.inf, -math.inf):
                assert refusal(field.metadata["option"], value)[0], f"{kind.__name__}.{field.name} takes {value}"


def _number_flags(kinds: tuple[type, ...]) -> Iterator[tuple[str, Option]]:
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        for field, said in declared_options(kind):
            if said.flags and _kinds_of_number(hints[field.name]) - {bool}:
                yield said.flags[0], said
    yield from ((flag, Option(help="")) for flag in ("--threads", "--verbose", "--ppid"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_takes_an_absurd_number(program: str, offered: dict, capsys: pytest.CaptureFixture) -> None:
    """Each is a wrong option: exit code 2 and one short line, before anything is loaded or written."""
    parser, kinds = offered[program]
    flags = dict(_number_flags(kinds))
    assert len(flags) >= 3
    for flag, said in flags.items():
        for text in WRONG_NUMBERS:
            if text == "-1" and flag in SIGNED:
                continue
            values = [text] * (said.count if isinstance(said.count, int) else 1)
            command = [f"{flag}={text}"] if len(values) == 1 else [flag, *values]
            with pytest.raises(SystemExit) as stop:
                parser.parse_args([*_places(parser), *command])
            line = capsys.readouterr().err
            assert stop.value.code == 2, (flag, text)
            assert line.count("\n") == 1 and flag in line and len(line) < 600, (flag, text, line)


def _places(parser: Any) -> list[str]:
    """Return values for the arguments that a program takes by their place."""
    wanted = [action for action in parser._actions if not action.option_strings and action.nargs is None]
    return [next(iter(action.choices or ["x"])) for action in wanted]
