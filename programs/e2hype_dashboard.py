#!/usr/bin/env python
"""Show runs in a browser: look, choose particles, see their volumes, export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.dashboard.configuration import DashboardConfig
from libhetero.dashboard.recipe import run

DESCRIPTION = """\
Show runs in a browser, also while they train.

Serves a page on this machine, prints its address with a token that lets one browser in, and the ssh line for looking
from another machine. The page shows all particles by latents, embeddings and anything known of them, their images
beside the model's projections, volumes of any point, class or path, regions of Gaussians, and the course of training.
Particles are chosen with the mouse, by class or by value, and written as lists (.lst, .star, and .cs of a .cs) that
other programs read, into RUN/selections/NAME; selection.json there says how they were chosen, and --repeat does it
again. Programs that the page starts run one at a time; it shows their commands.
Needs: pip install 'libhetero[dashboard]'. No request leaves the machine."""

EPILOG = """\
examples:
  e2hype_dashboard.py hype_00
  e2hype_dashboard.py hype_00 hype_01       two runs, also beside each other
  e2hype_dashboard.py .                     all runs of a project
  e2hype_dashboard.py hype_00 --readonly --nobrowser --port 9000
  e2hype_dashboard.py hype_00 --repeat hype_00/selections/open/selection.json
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_dashboard.py", DESCRIPTION, EPILOG, DashboardConfig)


def show(options: argparse.Namespace, session: Session) -> None:
    """Serve until Ctrl-C."""
    run(configuration_of(options, DashboardConfig), lambda line: print(line, flush=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, show)


if __name__ == "__main__":
    sys.exit(main())
