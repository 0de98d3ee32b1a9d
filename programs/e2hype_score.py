#!/usr/bin/env python
"""Score a run against the truth of a simulated set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Score a run against the truth of a simulated set.

Prints every metric that run and truth allow, each with its definition: agreement of particle
classes with true labels; amplitude accuracy, regions and motion of Gaussians; FSC_AUC, Chamfer
distance and volumetric IoU of each particle's own volume, between the floor (one consensus map for
every particle) and the bound (backprojection with true labels)."""

EPILOG = """\
examples:
  e2hype_score.py hype_00 --truth sim/truth --json score.json
  e2hype_score.py hype_01 --images 0                    no volumes; the truth beside the stack
  e2hype_score.py hype_02 --truth sim/truth --mask mask.mrc --level 2.5
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_score.py")
    parser.add_argument("run", help="run folder, such as hype_00")
    parser.add_argument(
        "--truth", metavar="FOLDER", help="truth of the simulation (default: the folder truth beside the run's stack)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the scores here too (default: print only)")
    parser.add_argument(
        "--images",
        type=int,
        default=100,
        metavar="N",
        help="particles whose own volume is scored, evenly spread; 0 for no volumes",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=20_000,
        metavar="N",
        help="most images of the consensus, and most particles whose Gaussians are decoded",
    )
    parser.add_argument("--batchsz", type=int, default=32, metavar="N", help="images read and decoded at once")
    parser.add_argument(
        "--mask", default="sphere", metavar="MASK", help="FSC mask: sphere, none, or a map with values 0 to 1"
    )
    parser.add_argument(
        "--level",
        type=float,
        metavar="L",
        help="fixed level for Chamfer distance and vIoU, in the true maps' unit "
        "(default: a quarter of their highest value)",
    )
    parser.add_argument(
        "--mass",
        type=float,
        metavar="KDA",
        help="molecular mass in kDa, for the level that encloses it (default: the truth's)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of k-means")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""

    def call(options: argparse.Namespace, session: Session) -> None:
        from libhetero.pipelines.score import ScoreConfig, run

        config = ScoreConfig(
            run=options.run,
            truth=options.truth,
            json=options.json,
            images=options.images,
            limit=options.limit,
            batch_size=options.batchsz,
            mask=options.mask,
            level=options.level,
            mass=options.mass,
            seed=options.seed,
        )
        print("\n".join(run(config, session.progress).lines))

    return run_program(build_parser(), argv, call)


if __name__ == "__main__":
    sys.exit(main())
