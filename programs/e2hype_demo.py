#!/usr/bin/env python
"""Run the whole path on small sets that the package itself makes, with scores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.demo.configuration import DemoConfig
from libhetero.demo.recipe import run
from libhetero.demo.report import file_lines, score_lines
from libhetero.errors import UserError

DESCRIPTION = """\
Run the whole path on small sets that the package itself makes, with scores.

assembly  a complex with three optional pieces: consensus map, starting Gaussians, the Point Transformer trained,
          regions found, particles sorted
mixture   four different molecules in one set: a CryoHype volume for every image

Each step is one of the installed programs, printed before it runs, so that its line can be copied and changed.
The two run at the same time, and every line begins with the name of its own.
At the end stand the scores against the simulated truth, beside those that the demo promises, and the files to
look at. The exit code is 1 where a promise is missed. It needs no data, no network and no GPU."""

EPILOG = """\
examples:
  e2hype_demo.py                     into the folder demo; some minutes on two cores
  e2hype_demo.py --quick             the first story alone, smaller: 4 minutes of processor time
  e2hype_demo.py /scratch/try        into a folder of another name
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_demo.py", DESCRIPTION, EPILOG, DemoConfig)


def show(options: argparse.Namespace, session: Session) -> None:
    """Run the demo, and print what it shows."""
    demo = run(configuration_of(options, DemoConfig), session.progress)
    for line in (*score_lines(demo), *file_lines(demo)):
        print(line)
    if demo.missed:
        missed = "; ".join(promise.meaning for promise in demo.missed)
        raise UserError(f"promised, and missed on this machine: {missed}. The figures above say by how much.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, show)


if __name__ == "__main__":
    sys.exit(main())
