"""The options every program takes, and how a wrong one is answered: in one line."""

from __future__ import annotations

import argparse
import copy
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import libhetero
from libhetero.cli.peers import peer_hint
from libhetero.configuration import Option, refusal, shortened, whole_number
from libhetero.configuration.limits import MOST_THREADS

MOST_VERBOSE, MOST_PROCESS_ID = 9, 2**31 - 1


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line on stderr, followed by exit code 2."""

    _typed: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?[0-9]")  # -60,60,3 and -1e-3 are values, too

    def parse_known_args(  # type: ignore[override]  # of its overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse, and keep which flags were typed, for the complaint."""
        words = sys.argv[1:] if args is None else args
        self._typed = frozenset(word.split("=")[0] for word in words if word.startswith("-"))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line that says what is wrong and where the help is; exit with code 2."""
        message = message.replace("unrecognized arguments:", "unknown option or argument:")
        message = re.sub(r" (--?[\w-]+(?:/--?[\w-]+)+)", self._one_spelling, message)
        line = " ".join(f"{message}{self._suggestion(message)}".split())
        self.exit(2, f"{self.prog}: {line}; see {self.prog} --help.\n")

    def _one_spelling(self, found: re.Match[str]) -> str:
        """Return a flag as it was typed, of all its spellings; the first where none was."""
        flags = found[1].split("/")
        return " " + next((flag for flag in flags if flag in self._typed), flags[0])

    def _suggestion(self, message: str) -> str:
        if not message.startswith("unknown option"):
            return ""
        wrong = message.split(":", 1)[1].split()[0].split("=")[0]
        places = [action.dest for action in self._actions if not action.option_strings]
        flags = {flag: action.metavar for flag, action in self._option_string_actions.items()}
        hint = peer_hint(wrong, flags, bool(places), len(places) > 1)
        if hint:
            return hint
        near = difflib.get_close_matches(wrong, list(self._option_string_actions), n=1, cutoff=0.7)
        return f" (did you mean {near[0]}?)" if near else ""


class DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help that keeps the layout of the description and states every default that says something."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Leave out a spelling with "-" beside the same with "_"."""
        shown = copy.copy(action)
        others = {flag.replace("_", "-") for flag in action.option_strings if "_" in flag}
        shown.option_strings = [flag for flag in action.option_strings if flag not in others]
        return super()._format_action_invocation(shown)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, argparse.SUPPRESS) or isinstance(action.default, bool):
            return action.help
        if action.help is not None and "default" in action.help:
            return action.help
        return super()._get_help_string(action)


def common_parser(description: str, epilog: str | None = None, prog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options that every program takes.

    Parameters
    ----------
    description : what the program does; its first line is what a user reads first.
    epilog : examples, printed as they are laid out.
    prog : the program's name; None takes the name it was called by.

    Returns
    -------
    A parser with --verbose, --threads, --ppid and --version. Long options may not be
    abbreviated, so that a new option never changes what an old command means.
    """
    parser = OneLineParser(
        prog=prog, description=description, epilog=epilog, formatter_class=DefaultsFormatter, allow_abbrev=False
    )
    common = parser.add_argument_group("options of every program")
    common.add_argument(
        "-v",
        "--verbose",
        type=_within(0, MOST_VERBOSE),
        default=1,
        metavar="N",
        help="0 warnings only, 1 what is done, 2 and above details",
    )
    common.add_argument(
        "--threads",
        type=_within(0, MOST_THREADS),
        default=0,
        metavar="N",
        help="CPU threads to use, 0 for all (default: 0)",
    )
    common.add_argument(
        "--ppid",
        type=_within(-MOST_PROCESS_ID, MOST_PROCESS_ID),
        default=-1,
        metavar="N",
        help="process id of the calling program, for .eman2log.txt; below 0 for none (default: -1)",
    )
    version = f"%(prog)s (libhetero {libhetero.__version__}, Python {sys.version.split()[0]})"
    common.add_argument("--version", action="version", version=version)
    return parser


def _within(least: int, most: int) -> Callable[[str], int]:
    """Return what makes a whole number of a text, and refuses one outside of limits."""
    limits = Option(help="", least=least, most=most)

    def parse(text: str) -> int:
        try:
            value = whole_number(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}; got {shortened(repr(text))}") from None
        expected = refusal(limits, value)[0]
        if expected is not None:
            raise argparse.ArgumentTypeError(f"expected {expected}; got {shortened(repr(text))}")
        return value

    return parse
