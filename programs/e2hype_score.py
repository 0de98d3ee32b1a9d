#!/usr/bin/env python
"""Score a run against the truth of a simulated set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.pipelines.score import ScoreConfig, run

DESCRIPTION = """\
Score a run, or a folder of e2hype_classify.py, against the truth of a simulated set.

Prints every metric that run and truth allow, each with its definition: agreement of particle
classes with true labels; amplitude accuracy, regions and motion of Gaussians; FSC_AUC, Chamfer
distance and volumetric IoU of each particle's own volume, between the floor (one consensus map for
every particle) and the bound (backprojection with true labels). Where molecules move, a particle's true
volume is that of its own conformation, and further numbers tell how far volumes follow the motion."""

EPILOG = """\
examples:
  e2hype_score.py hype_00 --truth sim/truth --json score.json
  e2hype_score.py hype_01 --images 0                    no volumes; the truth beside the stack
  e2hype_score.py hype_02 --truth sim/truth --mask mask.mrc --level 2.5
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_score.py", DESCRIPTION, EPILOG, ScoreConfig)


def score(options: argparse.Namespace, session: Session) -> None:
    """Score as the options say."""
    print("\n".join(run(configuration_of(options, ScoreConfig), session.progress).lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, score)


if __name__ == "__main__":
    sys.exit(main())
