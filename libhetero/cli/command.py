"""The one command `libhetero`: a table of the programs, and each of them by its short name.

    libhetero                          what programs there are
    libhetero refine particles.star    the same as e2hype_refine.py particles.star

A program is started in the place of this process, so that its messages, exit code and signals are its own.
"""

from __future__ import annotations

import ast
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import libhetero
from libhetero.cli.run import flushed
from libhetero.cli.stages import find_program
from libhetero.cli.terminal import tell, usable_streams
from libhetero.configuration import shortened
from libhetero.errors import UserError

NAME, PREFIX, SUFFIX = "libhetero", "e2hype_", ".py"
A_PROGRAM = f"{PREFIX}version{SUFFIX}"  # lies where all of them lie
HEAD = f"""\
usage: {NAME} PROGRAM [OPTIONS]

{NAME} PROGRAM is {PREFIX}PROGRAM{SUFFIX}, which may be typed as well. {NAME} PROGRAM --help states the options of one.

programs:"""


def main(argv: Sequence[str] | None = None) -> int:
    """Name the programs, or become one of them.

    Parameters
    ----------
    argv : the program and its arguments; None takes those of the process.

    Returns
    -------
    0; 1 after one line where no programs are installed; 2 after one line where there is none of that name. It does
    not return where a program is started.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with usable_streams():
        try:
            code = _answered(words)
        except UserError as error:
            tell(f"{NAME}: {error}")
            code = 1
        return flushed(NAME, code)


def programs() -> dict[str, Path]:
    """Return the file of each program by its short name.

    Raises
    ------
    ConfigurationError : if they are not installed.
    """
    folder = find_program(A_PROGRAM).parent
    found = sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))
    return {path.name.removeprefix(PREFIX).removesuffix(SUFFIX): path for path in found}


def _answered(words: list[str]) -> int:
    """Do what the words say; return the exit code."""
    if not words or words[0] in ("-h", "--help"):
        known = programs()
        width = max(map(len, known))
        print(HEAD)
        for name, path in known.items():
            print(f"  {name:{width}s}  {_summary(path)}")
        return 0
    if words[0] == "--version":
        print(f"{NAME} {libhetero.__version__} (Python {sys.version.split()[0]})")
        return 0
    known, asked = programs(), words[0].removeprefix(PREFIX).removesuffix(SUFFIX)
    if asked in known:
        os.execv(sys.executable, [sys.executable, str(known[asked]), *words[1:]])
    near = difflib.get_close_matches(asked, known, 1)
    remedy = f"did you mean {near[0]}?" if near else f"{NAME} --help names them all."
    tell(f"{NAME}: expected a program; got {shortened(repr(words[0]))}; {remedy}")
    return 2


def _summary(path: Path) -> str:
    """Return the first line of what a program says of itself."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n", 1)[0]
