"""Options declared once: what is refused, in which words, and what is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from libhetero.configuration import (
    asked,
    check_options,
    declared,
    declared_options,
    internal,
    named,
    option,
    parsed_value,
    value_of,
    words_of,
)
from libhetero.errors import ConfigurationError


def _two_or_more(value: tuple[int, ...]) -> str | None:
    return None if len(value) > 1 else "two or more particles, such as 5,120"


def _letters(text: str) -> tuple[str, ...]:
    if not text.isalpha():
        raise ValueError("expected letters")
    return tuple(text)


@dataclass(frozen=True)
class WalkConfig:
    """A configuration with an option of every kind."""

    folder: str = option(positional="RUN", help="run folder")
    steps: int = option(10, "--niter", "--steps", least=1, help="of the walk")
    share: float = option(0.5, "--share", least=0, most=1, help="of all")
    size: float | None = option(None, "--size", above=0, below=100, help="of a step, Å")
    angle: float = option(1.0, "--angle", above=0, most=180, help="of a turn, degrees")
    box: int = option(64, "--box_size", least=8, even=True, help="pixels")
    pair: int = option(2, even=True, help="of shoes")
    way: str = option("graph", "--way", choices=("graph", "direct"), help="from one to the next")
    axes: tuple[str, ...] = option(("x",), "--axes", count="+", choices=("x", "y", "z"), help="to walk along")
    limits: tuple[float, float] = option((0.5, 2.5), "--limits", count=2, least=0, help="of the height, µm")
    turn: float = option(math.pi / 6, "--turn", scale=math.pi / 180, least=0, most=math.pi, help="degrees")
    heights: tuple[float, float] = option((5e3, 2e4), "--heights", count=2, scale=1e4, above=0, help="µm")
    path: tuple[int, ...] | None = option(None, "--path", check=_two_or_more, help="particles to visit")
    sign: int | None = option(None, constants={"--up": (1, "upwards"), "--down": (-1, "downwards")}, help="of a step")
    flat: bool = option(False, "--flat", help="stay on the ground")
    shoes: bool = option(True, "--noshoes", help="walk without shoes")
    width: int = option(8, least=1, help="of a model's layer")
    letters: tuple[str, ...] = option((), "--letters", parse=_letters, help="to carry")
    pace: int | None = option(None, "--pace", otherwise=7, least=1, goes_with=("path", "sign"), help="of a way")
    deviation: float = internal(1.0, "measured", above=0)
    notes: dict[str, Any] = internal(dict, "kept")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ChoiceConfig:
    """Options of which exactly one, and of which at most one, is given."""

    particle: int | None = option(None, "--particle", exclusive="which", required=True, help="one of them")
    all_classes: int | None = option(None, "--all_classes", exclusive="which", help="of k-means")
    grid: int | None = option(None, "--grid", exclusive="which", help="side")
    truth: str | None = option(None, "--truth", exclusive="colour", help="folder")
    labels: str | None = option(None, "--labels", exclusive="colour", help="file")

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "--niter: expected 1 or more; got 0."),
        ({"share": 1.5}, "--share: expected 0 to 1; got 1.5."),
        ({"share": math.nan}, "--share: expected 0 to 1; got nan."),
        ({"size": 0.0}, "--size: expected more than 0 and less than 100; got 0."),
        ({"size": 100.0}, "--size: expected more than 0 and less than 100; got 100."),
        ({"angle": 200.0}, "--angle: expected more than 0 and at most 180; got 200."),
        ({"box": 7}, "--box_size: expected an even number, 8 or more; got 7."),
        ({"box": 6}, "--box_size: expected an even number, 8 or more; got 6."),
        ({"box": 9}, "--box_size: expected an even number, 8 or more; got 9."),
        ({"pair": 3}, "pair: expected an even number; got 3."),
        ({"way": "rail"}, "--way: expected graph or direct; got 'rail'."),
        ({"axes": ("x", "w")}, "--axes: expected one of x, y, z; got 'w'."),
        ({"limits": (0.5, -1.0)}, "--limits: expected 0 or more; got -1."),
        ({"turn": 2 * math.pi}, "--turn: expected 0 to 180; got 360."),
        ({"heights": (5e3, -1e4)}, "--heights: expected more than 0; got -1."),
        ({"path": (3,)}, "--path: expected two or more particles, such as 5,120; got 3."),
        ({"path": ()}, "--path: expected two or more particles, such as 5,120; got none."),
        ({"width": 0}, "width: expected 1 or more; got 0."),
        ({"deviation": 0.0}, "deviation: expected more than 0; got 0."),
        ({"deviation": math.nan}, "deviation: expected a finite number, more than 0; got nan."),
        ({"pace": 3}, "--pace goes with --path or --up; leave it out, or add --path or --up."),
        ({"pace": 7}, "--pace goes with --path or --up; leave it out, or add --path or --up."),
        ({"pace": 0, "sign": 1}, "--pace: expected 1 or more; got 0."),
    ],
)
def test_what_is_outside_of_its_declaration_is_refused_in_one_line(wrong, message):
    with pytest.raises(ConfigurationError) as refusal:
        WalkConfig("run", **wrong)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"steps": 1, "share": 0.0, "size": 99.9, "angle": 180.0, "box": 8},
        {"share": 1.0, "path": (3, 4), "axes": ("z", "y"), "limits": (0.0, 0.0)},
        {"pace": 1, "path": (3, 4)},
        {"pace": 7, "sign": -1},
        {"size": None, "path": None},
        {"flat": True, "shoes": False},
    ],
)
def test_what_is_within_is_accepted(right):
    config = WalkConfig("run", **right)
    assert all(getattr(config, name) == value for name, value in right.items())


def test_options_that_exclude_each_other_are_refused_together():
    with pytest.raises(ConfigurationError, match=r"^--truth and --labels exclude each other; give one of them\.$"):
        ChoiceConfig(grid=3, truth="a", labels="b")
    with pytest.raises(ConfigurationError, match=r"^--particle and --grid exclude each other; give one of them\.$"):
        ChoiceConfig(particle=0, grid=3)
    assert ChoiceConfig(particle=0, labels="b").labels == "b"


def test_one_of_those_required_must_be_given():
    with pytest.raises(ConfigurationError, match=r"^expected one of --particle, --all_classes, --grid\.$"):
        ChoiceConfig(truth="a")


def test_a_user_reads_the_flag_and_code_the_field():
    assert [named(WalkConfig, name) for name in ("folder", "steps", "sign", "width")] == [
        "RUN",
        "--niter",
        "--up",
        "width",
    ]
    assert declared(WalkConfig, "steps").flags == ("--niter", "--steps")


def test_of_flags_that_each_set_a_value_the_one_that_was_given_is_named():
    assert [named(WalkConfig("run", sign=sign), "sign") for sign in (1, -1, None)] == ["--up", "--down", "--up"]


def test_what_differs_from_its_default_was_asked_for():
    config = WalkConfig("run", share=0.25)
    assert [name for name, *_ in _names(config) if asked(config, name)] == ["folder", "share"]
    assert asked(WalkConfig("run", notes={"a": 1}), "notes")


def _names(config: Any) -> list[tuple[str, Any]]:
    return [(each.name, said) for each, said in declared_options(config)]


def test_what_was_asked_for_is_said_as_it_is_typed():
    asked_for = WalkConfig("hype_00", steps=5, heights=(1e4, 3e4), path=(5, 120), sign=-1, flat=True, shoes=False)
    expected = "--niter 5 --heights 1 3 --path 5,120 --down --flat --noshoes"
    assert words_of(asked_for) == expected.split()
    assert words_of(asked_for, ("sign", "steps", "folder", "size")) == ["--niter", "5", "--down"]
    assert words_of(WalkConfig("hype_00")) == []


def test_what_was_not_given_stands_for_something():
    config = WalkConfig("run", path=(1, 2))
    assert config.pace is None and value_of(config, "pace") == 7
    assert value_of(WalkConfig("run", path=(1, 2), pace=3), "pace") == 3
    assert value_of(config, "size") is None


def test_a_default_made_anew_is_not_shared():
    assert WalkConfig("run").notes is not WalkConfig("run").notes


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "12", 12),
        ("share", "1e-3", 1e-3),
        ("size", "2.5", 2.5),
        ("way", "direct", "direct"),
        ("axes", "y", "y"),
        ("limits", "2", 2.0),
        ("turn", "180", math.pi),
        ("heights", "2.5", 2.5e4),
        ("path", "3,4,", (3, 4)),
        ("flat", "yes", True),
        ("shoes", "False", False),
        ("letters", "ab", ("a", "b")),
    ],
)
def test_text_becomes_a_value(name, text, value):
    found = parsed_value(WalkConfig, name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("steps", "many", "expected a whole number"),
        ("steps", "1.5", "expected a whole number"),
        ("share", "half", "expected a number"),
        ("path", "3,x", "expected a whole number"),
        ("flat", "perhaps", "expected true or false"),
        ("letters", "a1", "expected letters"),
    ],
)
def test_text_that_is_none_says_what_was_expected(name, text, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        parsed_value(WalkConfig, name, text)


def test_a_field_that_nobody_declared_is_a_defect():
    @dataclass(frozen=True)
    class Forgotten:
        steps: int = field(default=3)

        def __post_init__(self) -> None:
            check_options(self)

    with pytest.raises(TypeError, match="steps: no option was declared"):
        Forgotten()
