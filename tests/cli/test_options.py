"""Parsers made of configurations: flags, aliases, help and refusals come from the declarations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from libhetero.cli import configuration_of, configuration_parser, values_given
from libhetero.configuration import check_options, internal, option


def _scale(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError("expected a percentage, such as 5%")
    return float(text[:-1]) / 100


@dataclass(frozen=True)
class PathConfig:
    """Options of every kind."""

    folder: str = option(positional="RUN", help="run folder")
    route: str = option("graph", "--route", choices=("graph", "direct"), help="from one to the next")
    steps: int = option(10, "--steps", "--niter", metavar="N", least=1, help="of the way")
    min_size: float = option(0.5, "--min_size", metavar="X", group="sizes", help="smallest, 5 % of all")
    levels: tuple[float, float] = option((0.5, 2.5), "--levels", count=2, metavar=("LOW", "HIGH"), help="range, µm")
    height: float = option(5e3, "--height", scale=1e4, help="µm")
    models: tuple[str, ...] = option((), "--pdb", count="+", metavar="FILE", help="atomic models")
    noise: float = option(0.05, "--noise", parse=_scale, shown_default="5%", help="part of the signal")
    level: float | None = option(None, "--level", metavar="L", otherwise=0.25, help="density")
    dark: bool = option(False, "--dark", help="dark protein")
    ctf: bool = option(True, "--noctf", help="no CTF")
    sign: int | None = option(
        None, constants={"--invert": (-1, "dark, 5 % of all"), "--noinvert": (1, "white")}, exclusive="sign", help="it"
    )
    auto: bool = option(False, "--auto", group="sizes", exclusive="eps", help="choose eps")
    eps: float | None = option(None, "--eps", group="sizes", exclusive="eps", above=0, help="radius")
    found: float = internal(1.0, "measured")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class FirstConfig:
    """Shares flags with `SecondConfig`."""

    width: int = option(8, "--width", help="of a layer")
    encoder: str = option("posterior", "--encoder", choices=("posterior", "mlp"), help="of the first")
    name: str = option("a", "--name", choices=("a", "b"), help="of either")


@dataclass(frozen=True)
class SecondConfig:
    """Shares flags with `FirstConfig`."""

    size: int = option(8, "--width", "--size", help="of a layer")
    encoder: str = option("unet", "--encoder", choices=("unet", "mlp"), help="of the second")
    title: str = option("c", "--name", help="of either")


@dataclass(frozen=True)
class ChoiceConfig:
    """Exactly one of three."""

    particles: str | None = option(None, "--particles", exclusive="which", required=True, help="these")
    all_classes: int | None = option(None, "--all_classes", exclusive="which", help="all")
    grid: int | None = option(None, "--grid", exclusive="which", help="side")


@dataclass(frozen=True)
class PlaceConfig:
    """Arguments by their place, some of which may be left out."""

    kind: str = option(positional="KIND", choices=("mixture", "motion"), help="what differs")
    count: int = option(4, positional="COUNT", help="how many")
    unit: str = option("px", positional="UNIT", choices=("px", "Å"), help="of the count")


def parser(*kinds: type) -> Any:
    """Return the parser of some configurations."""
    return configuration_parser("e2hype_walk.py", "Walk.", "", *(kinds or (PathConfig,)))


def parsed(line: str, *kinds: type) -> Any:
    """Return the first configuration that a command line asks for."""
    return configuration_of(parser(*kinds).parse_args(line.split()), (kinds or (PathConfig,))[0])


def refused(line: str, capsys: pytest.CaptureFixture, *kinds: type) -> str:
    """Return the one line that answers a wrong command line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        parser(*kinds).parse_args(line.split())
    assert stop.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    return told


def helped(*kinds: type) -> str:
    """Return the help, with every run of blanks as one."""
    return " ".join(parser(*kinds).format_help().split())


def test_what_is_not_given_takes_its_default():
    assert parsed("run") == PathConfig("run")
    assert values_given(parser().parse_args(["run"]), PathConfig) == {"folder": "run"}


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--route direct", "route", "direct"),
        ("--steps 3", "steps", 3),
        ("--niter 3", "steps", 3),
        ("--min_size .25", "min_size", 0.25),
        ("--min-size=.25", "min_size", 0.25),
        ("--min_size -1", "min_size", -1.0),
        ("--min_size -.5", "min_size", -0.5),
        ("--min_size=-1e-3", "min_size", -1e-3),
        ("--levels 1 2", "levels", (1.0, 2.0)),
        ("--levels -1 2", "levels", (-1.0, 2.0)),
        ("--height 2.5", "height", 2.5e4),
        ("--pdb a.pdb b.pdb --dark", "models", ("a.pdb", "b.pdb")),
        ("--noise 10%", "noise", 0.1),
        ("--level 3", "level", 3.0),
        ("--dark", "dark", True),
        ("--noctf", "ctf", False),
        ("--invert", "sign", -1),
        ("--noinvert", "sign", 1),
    ],
)
def test_a_flag_sets_its_field(line, name, value):
    for words in (f"run {line}", f"{line} --auto run"):
        found = getattr(parsed(words), name)
        assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --steps many", "argument --steps: expected a whole number; got 'many'"),
        ("run --min-size big", "argument --min-size: expected a number; got 'big'"),
        ("run --noise 5", "argument --noise: expected a percentage, such as 5%; got '5'"),
        ("run --levels 1", "argument --levels: expected 2 arguments"),
        ("run --route rail", "argument --route: invalid choice: 'rail' (choose from"),
        ("run --eps 1 --auto", "argument --auto: not allowed with argument --eps"),
        ("run --invert --noinvert", "argument --noinvert: not allowed with argument --invert"),
        ("run --rout direct", "unknown option or argument: --rout direct (did you mean --route?)"),
        ("run --min_sise 3", "(did you mean --min_size?)"),
        ("", "the following arguments are required: RUN"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line(line, message, capsys):
    told = refused(line, capsys)
    assert message in told and told.startswith("e2hype_walk.py: ") and told.endswith("; see e2hype_walk.py --help.")


def test_one_of_those_required_must_be_given(capsys):
    assert parsed("--all-classes 3", ChoiceConfig).all_classes == 3
    told = refused("", capsys, ChoiceConfig)
    assert "one of the arguments --particles --all_classes --grid is required" in told
    assert "--grid: not allowed with argument --all-classes;" in refused(
        "--all-classes 3 --grid 2", capsys, ChoiceConfig
    )


def test_help_says_each_option_once_with_its_default():
    text = helped()
    for part in (
        "RUN run folder",
        "--route {graph,direct} from one to the next (default: graph)",
        "--steps N, --niter N of the way (default: 10)",
        "--min_size X smallest, 5 % of all (default: 0.5)",
        "--levels LOW HIGH range, µm (default: 0.5 2.5)",
        "--height HEIGHT µm (default: 0.5)",
        "--noise NOISE part of the signal (default: 5%)",
        "--level L density (default: 0.25)",
        "--dark dark protein --noctf no CTF",
        "--invert dark, 5 % of all --noinvert white",
        "sizes:",
    ):
        assert part in text, text
    assert "--min-size" not in text and "measured" not in text and "SUPPRESS" not in text
    assert re.search(r"\[--auto \| --eps EPS\]", text)


def test_configurations_share_a_flag():
    text = helped(FirstConfig, SecondConfig)
    assert "--width WIDTH, --size WIDTH of a layer (default: 8)" in text
    assert "--encoder {posterior,mlp,unet} of the first; of the second (default: posterior, unet)" in text
    options = parser(FirstConfig, SecondConfig).parse_args(["--width", "3", "--encoder", "unet", "--name", "z"])
    assert values_given(options, FirstConfig) == {"width": 3, "encoder": "unet", "name": "z"}
    assert configuration_of(options, SecondConfig) == SecondConfig(3, "unet", "z")


@pytest.mark.parametrize(
    ("line", "values"),
    [("motion", ("motion", 4, "px")), ("motion 7", ("motion", 7, "px")), ("mixture 7 Å", ("mixture", 7, "Å"))],
)
def test_an_argument_by_its_place_may_be_left_out(line: str, values: Sequence[Any], capsys):
    assert parsed(line, PlaceConfig) == PlaceConfig(*values)
    assert "argument kind: invalid choice: 'melting'" in refused("melting", capsys, PlaceConfig)
    assert "argument COUNT: expected a whole number; got 'few'" in refused("motion few", capsys, PlaceConfig)
    assert "{mixture,motion} what differs COUNT how many (default: 4)" in helped(PlaceConfig)


def test_headings_stand_in_the_order_asked_for():
    @dataclass(frozen=True)
    class Last:
        colour: str = option("red", "--colour", group="colours", help="of it")

    def page(*headings: str) -> str:
        return configuration_parser("e2hype_walk.py", "Walk.", "", PathConfig, Last, headings=headings).format_help()

    assert page().index("sizes:") < page().index("colours:")
    text = page("empty", "colours", "sizes")
    assert text.index("colours:") < text.index("sizes:")
    assert "empty:" not in text, "a heading without an option is left out"


def test_options_that_exclude_each_other_belong_under_one_heading():
    @dataclass(frozen=True)
    class Torn:
        auto: bool = option(False, "--auto", group="here", exclusive="eps", help="choose eps")
        eps: float | None = option(None, "--eps", group="there", exclusive="eps", help="radius")

    with pytest.raises(TypeError, match="eps: options that exclude each other"):
        parser(Torn)


def test_further_fields_are_given_by_the_program():
    options = parser().parse_args(["run", "--steps", "3"])
    assert configuration_of(options, PathConfig, found=2.0) == PathConfig("run", steps=3, found=2.0)
