#!/usr/bin/env python
"""Analyse a trained run by one command: classes, states, volumes, and a page that shows all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.analyze import AnalyzeConfig, run

DESCRIPTION = """\
Analyse a trained run, of either family, by one command.

The particles are embedded in a plane and sorted into classes (as e2hype_embed.py does), their density in
the plane of the first two principal components is estimated, with the width of each particle's own
uncertainty taken off where the run knows it, and its maxima are told as states, with the likeliest path
between the two most populated. Tests say whether latents follow defocus, view, micrograph, contrast or
half-set, which molecules do not. Volumes are written of classes, along the first principal components,
of states and along the path (RUN/volumes). RUN/analysis/index.html shows all of it; of a run without
Gaussians, RUN/index.html too. What each call found is kept in RUN/analyses/NAME (--name), and its volumes in
RUN/volumes/NAME_classes, NAME_pc_1 …; RUN/results.html lists all."""

EPILOG = """\
examples:
  e2hype_analyze.py hype_00
  e2hype_analyze.py hype_00 --classes 10 --components 4
  e2hype_analyze.py hype_00 --columns rlnDefocusU,rlnCtfMaxResolution --novolumes
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_analyze.py", DESCRIPTION, EPILOG, AnalyzeConfig, FigureConfig)


def analyze(options: argparse.Namespace, session: Session) -> None:
    """Analyse as the options say."""
    result = run(configuration_of(options, AnalyzeConfig), session.progress)
    print(*result.lines, sep="\n")
    print(f"look at {result.page}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, analyze)


if __name__ == "__main__":
    sys.exit(main())
