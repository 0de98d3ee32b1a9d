#!/usr/bin/env python
"""Compare runs of the same particles: classes, latents, regions and volumes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.compare import CompareConfig, run

DESCRIPTION = """\
Say how far runs agree about the particles that they share: runs of either family, with other settings, another
seed, or of lists that overlap. Particles are matched by their image (stack and number), not by their row.

  classes   cross-table with the best one-to-one matching, adjusted Rand index (ARI) and mutual information (AMI)
  latents   canonical correlations on particles held out, what chance gives at as many particles and numbers, how
            much of one latent follows from the other (R²), and how many of the ten nearest neighbours are the same
  regions   ARI over Gaussians, each with the nearest of the other run, and which region is which
  volumes   of classes, as e2hype_eval.py or e2hype_analyze.py wrote them: matched one to one by their Fourier shell
            correlation, with the resolution where it falls below 0.5

What a run does not have is left out, and the command that makes it is told. The verdict, in one line for each two
runs: they agree where ARIs and R² are all 0.8 or more, do not where all are below 0.4, else in part. Writes a new
folder: index.html, comparison.txt, comparison.json and figures."""

EPILOG = """\
examples:
  e2hype_compare.py hype_00 hype_01
  e2hype_compare.py hype_00 pt_00 mlp_00 --path three_runs
  e2hype_compare.py hype_00/epoch_05 hype_00 --novolumes
  e2hype_compare.py hype_00 hype_01 --embedding umap_classes_8
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_compare.py", DESCRIPTION, EPILOG, CompareConfig, FigureConfig)


def compare(options: argparse.Namespace, session: Session) -> None:
    """Compare as the options say."""
    result = run(configuration_of(options, CompareConfig), session.progress)
    left_out = dict.fromkeys(line for pair in result.found.pairs for line in pair.left_out)
    print(*left_out, *result.verdicts, f"look at {result.page}", sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, compare)


if __name__ == "__main__":
    sys.exit(main())
