#!/usr/bin/env python
"""Fit a starting Gaussian mixture to a map or an atomic model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.guess import GuessConfig, run

DESCRIPTION = """\
Fit Gaussians to a map or an atomic model: the neutral model that e2hype_refine.py changes.

The molecule is what stands out of the map's background, weak pieces too. Without --ngauss, more and
more Gaussians are fitted, a line each: as many as can change independently of each other as far as the
particles tell (by half-maps and their number, in the map's header or by --particles; or by the images of
--particles), or until 1.6 times as many explain less than 2 % more of the map (its FSC with them, as far
as the map's own noise allows). Writes EMAN2's Gaussian text and, beside it, a .pdb, the FSC of map and
Gaussians as _fsc.txt and a figure of it."""

EPILOG = """\
examples:
  e2hype_guess_n.py consensus.mrc gmm.txt
  e2hype_guess_n.py consensus.mrc gmm.txt --ngauss 1024 --trainmodel --particles particles.lst
  e2hype_guess_n.py consensus.mrc gmm.txt --halfmaps half1.mrc half2.mrc --sym c4
  e2hype_guess_n.py model.cif gmm.txt --box 128 --apix 2.5 --maxres 8
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_guess_n.py", DESCRIPTION, EPILOG, GuessConfig, FigureConfig)


def guess(options: argparse.Namespace, session: Session) -> None:
    """Fit as the options say."""
    run(configuration_of(options, GuessConfig), session.progress)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, guess)


if __name__ == "__main__":
    sys.exit(main())
